package webhook

import (
	"bytes"
	"mime"
	"net/http"
	"net/url"
	"time"

	"roomlink/internal/access"
	"roomlink/internal/web"
)

// token answers POST /security/oauth/token: client credentials in, an access
// token out (RFC 6749, sections 4.4 and 5).
func (h *Webhook) token(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Pragma", "no-cache")
	began := time.Now()
	line := audit{remote: r.RemoteAddr, shape: "token", outcome: "token_refused"}
	id, access, err := h.issue(w, r)
	if err == nil {
		line.outcome = "token_issued"
	}
	line.identity = id
	line.took = time.Since(began)
	h.audit(line, err)
	if err != nil {
		web.Fail(w, err)
		return
	}
	web.JSON(w, http.StatusOK, &access)
}

// accessToken is the answer of the token endpoint.
type accessToken struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int    `json:"expires_in"`
}

// issue makes an access token. Its errors are [*web.Error]s with the codes of
// RFC 6749, section 5.2.
func (h *Webhook) issue(w http.ResponseWriter, r *http.Request) (access.Identity, accessToken, error) {
	form, err := readForm(w, r)
	if err != nil {
		return access.Identity{}, accessToken{}, err
	}
	id, secret, err := clientOf(r, form)
	if err != nil {
		return access.Identity{}, accessToken{}, err
	}
	identity, token, lifetime, err := h.config.Authenticator.Issue(r.Context(), id, secret, time.Now())
	if err != nil {
		return access.Identity{}, accessToken{}, invalidClient("the client is not known, or its secret is wrong")
	}
	return identity, accessToken{
		AccessToken: token, TokenType: "Bearer", ExpiresIn: int(lifetime / time.Second),
	}, nil
}

func invalidClient(description string) error {
	return &web.Error{Status: http.StatusUnauthorized, Code: "invalid_client", Description: description}
}

func readForm(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || mediaType != "application/x-www-form-urlencoded" {
		return nil, web.BadRequest("invalid_request", "send the body with Content-Type: application/x-www-form-urlencoded")
	}
	body, err := web.ReadBody(w, r, new(bytes.Buffer))
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, web.BadRequest("invalid_request", "the body is not form-encoded as it should be")
	}
	for _, values := range form {
		if len(values) > 1 {
			// A description has neither quotes nor foreign text (RFC 6749, section 5.2).
			return nil, web.BadRequest("invalid_request", "a parameter is there twice")
		}
	}
	switch form.Get("grant_type") {
	case "client_credentials":
		return form, nil
	case "":
		return nil, web.BadRequest("invalid_request", "grant_type is missing")
	}
	return nil, web.BadRequest("unsupported_grant_type", "the only grant_type is client_credentials")
}

// clientOf takes the client's credentials from HTTP Basic, form-encoded in it as
// RFC 6749 (section 2.3.1) has it, or from the body; two ways at once are refused.
// A parameter without a value is none (section 3.2).
func clientOf(r *http.Request, form url.Values) (id, secret string, err error) {
	user, password, basic := r.BasicAuth()
	if !basic {
		id, secret = form.Get("client_id"), form.Get("client_secret")
		if id == "" || secret == "" {
			return "", "", invalidClient("client_id and client_secret are missing")
		}
		return id, secret, nil
	}
	if form.Get("client_secret") != "" {
		return "", "", web.BadRequest("invalid_request", "the client's secret is given in two ways")
	}
	if id, err = url.QueryUnescape(user); err == nil {
		secret, err = url.QueryUnescape(password)
	}
	if err != nil {
		return "", "", web.BadRequest("invalid_request", "the credentials in HTTP Basic are not form-encoded")
	}
	return id, secret, nil
}

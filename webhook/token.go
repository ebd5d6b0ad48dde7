package webhook

import (
	"fmt"
	"net/http"
	"net/url"
	"time"

	"roomlink/internal/web"
)

// accessToken is the answer of the token endpoint (RFC 6749, section 5.1).
type accessToken struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int    `json:"expires_in"`
}

// issue answers POST /security/oauth/token: it exchanges a client's credentials for an
// access token (RFC 6749, section 4.4). Its errors have the codes of section 5.2.
func (h *Webhook) issue(w http.ResponseWriter, r *http.Request, record *auditRecord) (int, any, error) {
	record.shape, record.outcome = "token", "token_refused"
	w.Header().Set("Pragma", "no-cache")
	form, err := readForm(w, r)
	if err != nil {
		return 0, nil, err
	}
	id, secret, err := clientOf(r, form)
	if err != nil {
		return 0, nil, err
	}
	identity, token, lifetime, err := h.config.Authenticator.Issue(r.Context(), id, secret, record.began)
	record.identity = identity
	if err != nil {
		return 0, nil, fmt.Errorf("%w: %w", errUnknownClient, err)
	}
	record.outcome = "token_issued"
	return http.StatusOK, &accessToken{
		AccessToken: token, TokenType: "Bearer", ExpiresIn: int(lifetime / time.Second),
	}, nil
}

// readForm reads the parameters of a request for an access token. A description of its
// errors has neither quotes nor foreign text (RFC 6749, section 5.2).
func readForm(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	if !hasType(r, func(mediaType string) bool { return mediaType == "application/x-www-form-urlencoded" }) {
		return nil, web.BadRequest("invalid_request", "send the body with Content-Type: application/x-www-form-urlencoded")
	}
	body, err := web.ReadBody(w, r)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, web.BadRequest("invalid_request", "the body is not form-encoded")
	}
	for _, values := range form {
		if len(values) > 1 {
			return nil, web.BadRequest("invalid_request", "a parameter occurs twice")
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

// clientOf returns the client's credentials from HTTP Basic, which form-encodes them (RFC
// 6749, section 2.3.1), or from the body. It refuses a secret in both places. An empty
// parameter counts as missing (section 3.2).
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
		return "", "", web.BadRequest("invalid_request", "the client's secret is given twice")
	}
	if id, err = url.QueryUnescape(user); err == nil {
		secret, err = url.QueryUnescape(password)
	}
	if err != nil {
		return "", "", web.BadRequest("invalid_request", "the credentials in HTTP Basic are not form-encoded")
	}
	return id, secret, nil
}

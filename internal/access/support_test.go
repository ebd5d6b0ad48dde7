package access_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"roomlink/internal/access"
	"roomlink/internal/accounts"
	"roomlink/internal/secret"
)

// Invented keys and credentials.
const (
	keyA = secret.String("invented-link-key-A-0123456789abcdef")
	keyB = secret.String("invented-link-key-B-0123456789abcdef")

	acmeKey      = secret.String("acme-invented-api-key")
	acmePassword = secret.String("acme-invented-password")
	acmeSecret   = secret.String("acme-invented-client-secret")
	globexKey    = secret.String("globex-invented-api-key")
	globexSecret = secret.String("globex-invented-client-secret")
)

// noon is the current time in the tests.
var noon = time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)

func newKeys(tb testing.TB, keys ...secret.String) *access.Keys {
	tb.Helper()
	made, err := access.NewKeys(keys...)
	if err != nil {
		tb.Fatalf("making keys: %v", err)
	}
	return made
}

func account(name string, credentials accounts.Credentials) accounts.Account {
	return accounts.Account{Name: name, Talkdesk: accounts.Talkdesk{Credentials: credentials}}
}

// acme has one credential of each kind.
func acme() accounts.Account {
	return account("acme", accounts.Credentials{
		APIKeys: []accounts.APIKey{{Name: "acme key", Key: acmeKey}},
		Basic:   []accounts.Basic{{Name: "acme basic", User: "talkdesk", Password: acmePassword}},
		Clients: []accounts.Client{{Name: "acme client", ID: "connections", Secret: acmeSecret}},
	})
}

// globex has a client with the same id as acme.
func globex() accounts.Account {
	return account("globex", accounts.Credentials{
		APIKeys: []accounts.APIKey{{Name: "globex key", Key: globexKey}},
		Clients: []accounts.Client{{Name: "globex client", ID: "connections", Secret: globexSecret}},
	})
}

// newAuthenticator issues tokens with a lifetime of one hour and does not delay failures.
func newAuthenticator(tb testing.TB, keys *access.Keys, all ...accounts.Account) *access.Authenticator {
	tb.Helper()
	authenticator, err := access.NewAuthenticator(access.Config{
		Accounts: all, Keys: keys, TokenLifetime: time.Hour, FailureDelay: time.Nanosecond,
	})
	if err != nil {
		tb.Fatalf("making a authenticator: %v", err)
	}
	return authenticator
}

// with returns a request with the given headers, as pairs of name and value.
func with(headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/talkdesk/events", nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

func withBasic(user, password string) *http.Request {
	r := with()
	r.SetBasicAuth(user, password)
	return r
}

func withBearer(token string) *http.Request { return with("Authorization", "Bearer "+token) }

// issue returns an access token that was issued at noon.
func issue(tb testing.TB, authenticator *access.Authenticator, id string, clientSecret secret.String) string {
	tb.Helper()
	_, token, _, err := authenticator.Issue(tb.Context(), id, clientSecret.Reveal(), noon)
	if err != nil {
		tb.Fatalf("issuing a token to %q: %v", id, err)
	}
	return token
}

package access_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"roomlink/internal/access"
	"roomlink/internal/accounts"
	"roomlink/internal/secret"
)

func TestAuthenticate(t *testing.T) {
	keys := newKeys(t, keyA)
	authenticator := newAuthenticator(t, keys, acme(), globex())
	acmeToken := issue(t, authenticator, "connections", acmeSecret)
	globexToken := issue(t, authenticator, "connections", globexSecret)

	basic := access.Identity{Account: "acme", Credential: "acme basic", Kind: access.KindBasic}
	apiKey := access.Identity{Account: "acme", Credential: "acme key", Kind: access.KindAPIKey}
	bearer := access.Identity{Account: "acme", Credential: "acme client", Kind: access.KindBearer}
	for _, test := range []struct {
		name    string
		request *http.Request
		want    access.Identity
	}{
		{"API key", with("X-API-Key", acmeKey.Reveal()), apiKey},
		{"API key, header in lower case", with("x-api-key", acmeKey.Reveal()), apiKey},
		{
			"API key of the other account", with("X-API-Key", globexKey.Reveal()),
			access.Identity{Account: "globex", Credential: "globex key", Kind: access.KindAPIKey},
		},
		{"Basic", withBasic("talkdesk", acmePassword.Reveal()), basic},
		{"Basic, scheme in lower case", with("Authorization", "basic "+base64.StdEncoding.EncodeToString(
			[]byte("talkdesk:"+acmePassword.Reveal()))), basic},
		{"bearer", withBearer(acmeToken), bearer},
		{"bearer, scheme in lower case", with("Authorization", "bearer "+acmeToken), bearer},
		{"bearer, extra spaces", with("Authorization", "Bearer   "+acmeToken+" "), bearer},
		{
			"bearer of the other account", withBearer(globexToken),
			access.Identity{Account: "globex", Credential: "globex client", Kind: access.KindBearer},
		},
		{"API key before Basic", with("X-API-Key", acmeKey.Reveal(), "Authorization", "Basic Og=="), apiKey},
	} {
		got, err := authenticator.Authenticate(test.request, noon)
		if err != nil || got != test.want {
			t.Errorf("%s: got %+v and error %v, want %+v", test.name, got, err, test.want)
		}
	}
}

func TestAuthenticateRefuses(t *testing.T) {
	keys := newKeys(t, keyA)
	authenticator := newAuthenticator(t, keys, acme(), globex())
	token := issue(t, authenticator, "connections", acmeSecret)
	other := newAuthenticator(t, newKeys(t, keyB), acme())
	page := keys.Sign(access.Claims{Purpose: access.PurposeCard, Account: "acme", Subject: "connections", Expires: noon.Add(time.Hour)})

	for _, test := range []struct {
		name    string
		request *http.Request
		want    error
	}{
		{"nothing", with(), access.ErrNoCredentials},
		{"an empty API key", with("X-API-Key", ""), access.ErrNoCredentials},
		{"an empty Authorization", with("Authorization", ""), access.ErrNoCredentials},
		{"another API key", with("X-API-Key", "guess"), access.ErrBadCredentials},
		{"part of an API key", with("X-API-Key", acmeKey.Reveal()[1:]), access.ErrBadCredentials},
		{"a password as an API key", with("X-API-Key", acmePassword.Reveal()), access.ErrBadCredentials},
		{"a wrong API key and good Basic", func() *http.Request {
			r := withBasic("talkdesk", acmePassword.Reveal())
			r.Header.Set("X-API-Key", "guess")
			return r
		}(), access.ErrBadCredentials},
		{"another password", withBasic("talkdesk", "guess"), access.ErrBadCredentials},
		{"an empty password", withBasic("talkdesk", ""), access.ErrBadCredentials},
		{"nothing in Basic", withBasic("", ""), access.ErrBadCredentials},
		{"another user", withBasic("Talkdesk", acmePassword.Reveal()), access.ErrBadCredentials},
		{"user and password split elsewhere", withBasic("talkdes", "k"+acmePassword.Reveal()), access.ErrBadCredentials},
		{"an API key as a password", withBasic("", acmeKey.Reveal()), access.ErrBadCredentials},
		{"a client in Basic", withBasic("connections", acmeSecret.Reveal()), access.ErrBadCredentials},
		{"Basic that is not base64", with("Authorization", "Basic !!!"), access.ErrBadCredentials},
		{"Basic without a colon", with("Authorization", "Basic YWNtZQ=="), access.ErrBadCredentials},
		{"an empty bearer", with("Authorization", "Bearer"), access.ErrBadCredentials},
		{"a blank bearer", with("Authorization", "Bearer  "), access.ErrBadCredentials},
		{"a client's secret as a bearer", withBearer(acmeSecret.Reveal()), access.ErrBadCredentials},
		{"a page's token", withBearer(page), access.ErrBadCredentials},
		{"a token signed with another key", withBearer(issue(t, other, "connections", acmeSecret)), access.ErrBadCredentials},
		{"a truncated token", withBearer(token[:len(token)-1]), access.ErrBadCredentials},
		{"another scheme", with("Authorization", "Digest "+token), access.ErrBadCredentials},
		{"a bare token", with("Authorization", token), access.ErrBadCredentials},
	} {
		got, err := authenticator.Authenticate(test.request, noon)
		if !errors.Is(err, test.want) || got != (access.Identity{}) {
			t.Errorf("%s: got %+v and error %v, want error %v", test.name, got, err, test.want)
		}
	}
}

func TestAccessTokenExpires(t *testing.T) {
	authenticator := newAuthenticator(t, newKeys(t, keyA), acme())
	token := issue(t, authenticator, "connections", acmeSecret)
	for _, test := range []struct {
		after time.Duration
		want  error
	}{
		{0, nil},
		{time.Hour - time.Second, nil},
		{time.Hour, access.ErrBadCredentials},
		{24 * time.Hour, access.ErrBadCredentials},
	} {
		if _, err := authenticator.Authenticate(withBearer(token), noon.Add(test.after)); !errors.Is(err, test.want) {
			t.Errorf("after %v: got error %v, want %v", test.after, err, test.want)
		}
	}
}

// A token stays bound to its account when another account takes over the client.
func TestAccessTokenBelongsToOneAccount(t *testing.T) {
	keys := newKeys(t, keyA)
	token := issue(t, newAuthenticator(t, keys, acme()), "connections", acmeSecret)
	if got, err := newAuthenticator(t, keys, globex()).Authenticate(withBearer(token), noon); !errors.Is(err, access.ErrBadCredentials) {
		t.Errorf("token of acme at the authenticator of globex: got %+v and error %v, want %v", got, err, access.ErrBadCredentials)
	}
	moved := acme()
	moved.Name = "globex"
	if got, err := newAuthenticator(t, keys, moved).Authenticate(withBearer(token), noon); !errors.Is(err, access.ErrBadCredentials) {
		t.Errorf("after the account was renamed: got %+v and error %v, want %v", got, err, access.ErrBadCredentials)
	}
}

func TestAccessTokenIsInvalidAfterSecretChange(t *testing.T) {
	keys := newKeys(t, keyA)
	token := issue(t, newAuthenticator(t, keys, acme()), "connections", acmeSecret)
	with := func(clients ...accounts.Client) accounts.Account {
		changed := acme()
		changed.Talkdesk.Clients = clients
		return changed
	}
	for _, test := range []struct {
		name    string
		account accounts.Account
		want    error
	}{
		{"unchanged", acme(), nil},
		{"under another name", with(accounts.Client{Name: "new name", ID: "connections", Secret: acmeSecret}), nil},
		{"another secret", with(accounts.Client{ID: "connections", Secret: "rotated"}), access.ErrBadCredentials},
		{"another id", with(accounts.Client{ID: "renamed", Secret: acmeSecret}), access.ErrBadCredentials},
		{"client removed", with(), access.ErrBadCredentials},
		{"both secrets during a rotation", with(
			accounts.Client{ID: "connections", Secret: acmeSecret},
			accounts.Client{ID: "connections", Secret: "rotated"}), nil},
	} {
		if _, err := newAuthenticator(t, keys, test.account).Authenticate(withBearer(token), noon); !errors.Is(err, test.want) {
			t.Errorf("%s: got error %v, want %v", test.name, err, test.want)
		}
	}
}

// A token identifies the secret that it was issued for.
func TestTwoSecretsOfOneClient(t *testing.T) {
	keys := newKeys(t, keyA)
	acme := account("acme", accounts.Credentials{Clients: []accounts.Client{
		{Name: "old", ID: "connections", Secret: acmeSecret},
		{Name: "new", ID: "connections", Secret: "rotated"},
	}})
	authenticator := newAuthenticator(t, keys, acme)
	for name, clientSecret := range map[string]secret.String{"old": acmeSecret, "new": "rotated"} {
		token := issue(t, authenticator, "connections", clientSecret)
		got, err := authenticator.Authenticate(withBearer(token), noon)
		if err != nil || got.Credential != name {
			t.Errorf("token of the %s secret: got %+v and error %v, want %q", name, got, err, name)
		}
	}
	token := issue(t, authenticator, "connections", acmeSecret)
	acme.Talkdesk.Clients = acme.Talkdesk.Clients[1:]
	if _, err := newAuthenticator(t, keys, acme).Authenticate(withBearer(token), noon); !errors.Is(err, access.ErrBadCredentials) {
		t.Errorf("token of the removed secret: got error %v, want %v", err, access.ErrBadCredentials)
	}
}

func TestAccessTokenSurvivesKeyRotation(t *testing.T) {
	token := issue(t, newAuthenticator(t, newKeys(t, keyA), acme()), "connections", acmeSecret)
	both := newAuthenticator(t, newKeys(t, keyB, keyA), acme())
	if _, err := both.Authenticate(withBearer(token), noon); err != nil {
		t.Errorf("checked with both keys: got error %v, want none", err)
	}
	token = issue(t, both, "connections", acmeSecret)
	after := newAuthenticator(t, newKeys(t, keyB), acme())
	if _, err := after.Authenticate(withBearer(token), noon); err != nil {
		t.Errorf("issued with both keys, checked with the new key only: got error %v, want none", err)
	}
}

func TestTwoClients(t *testing.T) {
	account := acme()
	account.Talkdesk.Clients = append(account.Talkdesk.Clients, accounts.Client{Name: "second client", ID: "studio", Secret: "invented-second"})
	authenticator := newAuthenticator(t, newKeys(t, keyA), account)
	for id, want := range map[string]struct {
		secret     secret.String
		credential string
	}{
		"connections": {acmeSecret, "acme client"},
		"studio":      {"invented-second", "second client"},
	} {
		identity, token, lifetime, err := authenticator.Issue(t.Context(), id, want.secret.Reveal(), noon)
		if err != nil || identity.Credential != want.credential || lifetime != time.Hour {
			t.Fatalf("issuing to %q: got %+v for %v and error %v, want %q for an hour", id, identity, lifetime, err, want.credential)
		}
		got, err := authenticator.Authenticate(withBearer(token), noon)
		if err != nil || got != identity {
			t.Errorf("token of %q: got %+v and error %v, want %+v", id, got, err, identity)
		}
	}
}

func TestIssueRefuses(t *testing.T) {
	authenticator := newAuthenticator(t, newKeys(t, keyA), acme(), globex())
	for _, test := range []struct{ name, id, secret string }{
		{"nothing", "", ""},
		{"no secret", "connections", ""},
		{"a wrong secret", "connections", "guess"},
		{"another id", "talkdesk", acmeSecret.Reveal()},
		{"credentials of HTTP Basic", "talkdesk", acmePassword.Reveal()},
		{"an API key", "", acmeKey.Reveal()},
	} {
		identity, token, lifetime, err := authenticator.Issue(t.Context(), test.id, test.secret, noon)
		if !errors.Is(err, access.ErrBadCredentials) || identity != (access.Identity{}) || token != "" || lifetime != 0 {
			t.Errorf("%s: got %+v, %q and error %v, want %v", test.name, identity, token, err, access.ErrBadCredentials)
		}
	}
}

func TestNewAuthenticatorRefuses(t *testing.T) {
	key := func(name string, s secret.String) accounts.APIKey { return accounts.APIKey{Name: name, Key: s} }
	basic := func(name, user string, s secret.String) accounts.Basic {
		return accounts.Basic{Name: name, User: user, Password: s}
	}
	client := func(name, id string, s secret.String) accounts.Client {
		return accounts.Client{Name: name, ID: id, Secret: s}
	}
	type credentials = accounts.Credentials
	const shared = secret.String("invented-and-shared")
	for _, test := range []struct {
		name     string
		accounts []accounts.Account
		want     error
	}{
		{"an API key under two accounts", []accounts.Account{
			account("acme", credentials{APIKeys: []accounts.APIKey{key("one", shared)}}), account("globex", credentials{APIKeys: []accounts.APIKey{key("two", shared)}}),
		}, access.ErrShared},
		{"Basic under two accounts", []accounts.Account{
			account("acme", credentials{Basic: []accounts.Basic{basic("one", "u", shared)}}), account("globex", credentials{Basic: []accounts.Basic{basic("two", "u", shared)}}),
		}, access.ErrShared},
		{"a client under two accounts", []accounts.Account{
			account("acme", credentials{Clients: []accounts.Client{client("one", "u", shared)}}), account("globex", credentials{Clients: []accounts.Client{client("two", "u", shared)}}),
		}, access.ErrShared},
		{"an API key twice in one account", []accounts.Account{
			account("acme", credentials{APIKeys: []accounts.APIKey{key("one", shared), key("two", shared)}}),
		}, access.ErrShared},
		{"an empty API key", []accounts.Account{account("acme", credentials{APIKeys: []accounts.APIKey{key("one", "")}})}, access.ErrNoSecret},
		{"an empty password", []accounts.Account{account("acme", credentials{Basic: []accounts.Basic{basic("one", "u", "")}})}, access.ErrNoSecret},
		{"an empty client secret", []accounts.Account{account("acme", credentials{Clients: []accounts.Client{client("one", "u", "")}})}, access.ErrNoSecret},
		{"no account", nil, access.ErrNobody},
		{"an account without credentials", []accounts.Account{{Name: "acme"}}, access.ErrNobody},
		{"one secret for three kinds", []accounts.Account{
			account("acme", credentials{APIKeys: []accounts.APIKey{key("one", shared)}, Basic: []accounts.Basic{basic("two", "u", shared)}, Clients: []accounts.Client{client("three", "u", shared)}}),
		}, nil},
		{"one secret for two users", []accounts.Account{
			account("acme", credentials{Basic: []accounts.Basic{basic("one", "u", shared)}}), account("globex", credentials{Basic: []accounts.Basic{basic("two", "v", shared)}}),
		}, nil},
	} {
		authenticator, err := access.NewAuthenticator(access.Config{Accounts: test.accounts, Keys: newKeys(t, keyA)})
		if !errors.Is(err, test.want) || (authenticator != nil) != (test.want == nil) {
			t.Errorf("%s: got error %v, want %v", test.name, err, test.want)
		}
		if err != nil && strings.Contains(err.Error(), shared.Reveal()) {
			t.Errorf("%s: got error %q, want one without the secret", test.name, err)
		}
	}
}

// Operators find the duplicate by the names in the error.
func TestErrSharedNamesBothCredentials(t *testing.T) {
	two := acme()
	two.Name = "globex"
	two.Talkdesk.APIKeys[0].Name = "globex key"
	_, err := access.NewAuthenticator(access.Config{Accounts: []accounts.Account{acme(), two}, Keys: newKeys(t, keyA)})
	const want = `the same credential is given twice: api_key "globex key" of account "globex" is also "acme key" of account "acme"`
	if err == nil || err.Error() != want {
		t.Errorf("got error %v, want %q", err, want)
	}
}

func TestOpen(t *testing.T) {
	keys := newKeys(t, keyA)
	open, err := access.NewAuthenticator(access.Config{Accounts: []accounts.Account{{Name: "acme"}}, Keys: keys, Open: "acme"})
	if err != nil {
		t.Fatalf("making an open authenticator: %v", err)
	}
	want := access.Identity{Account: "acme", Kind: access.KindNone}
	for name, r := range map[string]*http.Request{
		"nothing": with(), "an API key": with("X-API-Key", "any"), "a bearer": withBearer("any"),
	} {
		if got, err := open.Authenticate(r, noon); err != nil || got != want {
			t.Errorf("open, with %s: got %+v and error %v, want %+v", name, got, err, want)
		}
	}
	// With credentials, Config.Open has no effect.
	closed, err := access.NewAuthenticator(access.Config{
		Accounts: []accounts.Account{acme()}, Keys: keys, Open: "acme", FailureDelay: time.Nanosecond,
	})
	if err != nil {
		t.Fatalf("making a authenticator: %v", err)
	}
	if got, err := closed.Authenticate(with(), noon); !errors.Is(err, access.ErrNoCredentials) {
		t.Errorf("closed, with nothing: got %+v and error %v, want %v", got, err, access.ErrNoCredentials)
	}
}

// FuzzAuthenticate checks that only exact credentials are accepted.
func FuzzAuthenticate(f *testing.F) {
	authenticator := newAuthenticator(f, newKeys(f, keyA), acme(), globex())
	token := issue(f, authenticator, "connections", acmeSecret)
	basic := base64.StdEncoding.EncodeToString([]byte("talkdesk:" + acmePassword.Reveal()))
	for _, seed := range [][2]string{
		{"", ""},
		{acmeKey.Reveal(), ""},
		{"", "Basic " + basic},
		{"", "Bearer " + token},
		{"", "bearer  " + token},
		{"", "Basic"},
		{"", "Bearer"},
		{"guess", "Bearer " + token},
		{"", "Basic Og=="},
		{"", "Bearer " + token + "A"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, key, authorization string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header["X-Api-Key"] = []string{key}
		r.Header["Authorization"] = []string{authorization}
		got, err := authenticator.Authenticate(r, noon)
		if err != nil {
			if got != (access.Identity{}) {
				t.Errorf("refused: got %+v, want no identity", got)
			}
			if !errors.Is(err, access.ErrNoCredentials) && !errors.Is(err, access.ErrBadCredentials) {
				t.Errorf("got error %v, want %v or %v", err, access.ErrNoCredentials, access.ErrBadCredentials)
			}
			return
		}
		_, sent, _ := strings.Cut(authorization, " ")
		user, password, _ := r.BasicAuth()
		good := false
		switch got.Kind {
		case access.KindAPIKey:
			good = key == acmeKey.Reveal() || key == globexKey.Reveal()
		case access.KindBasic:
			good = key == "" && user == "talkdesk" && password == acmePassword.Reveal()
		case access.KindBearer:
			good = key == "" && strings.TrimSpace(sent) == token
		}
		if !good {
			t.Errorf("key %q, authorization %q: got %+v, want a refusal", key, authorization, got)
		}
	})
}

func BenchmarkAuthenticate(b *testing.B) {
	authenticator := newAuthenticator(b, newKeys(b, keyA), acme(), globex())
	for name, r := range map[string]*http.Request{
		"key":    with("X-API-Key", acmeKey.Reveal()),
		"basic":  withBasic("talkdesk", acmePassword.Reveal()),
		"bearer": withBearer(issue(b, authenticator, "connections", acmeSecret)),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := authenticator.Authenticate(r, noon); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func ExampleAuthenticator() {
	keys, err := access.NewKeys("an invented key of at least 32 bytes")
	if err != nil {
		fmt.Println(err)
		return
	}
	authenticator, err := access.NewAuthenticator(access.Config{
		Accounts: []accounts.Account{{
			Name: "acme",
			Talkdesk: accounts.Talkdesk{Credentials: accounts.Credentials{
				Clients: []accounts.Client{{Name: "connections", ID: "talkdesk", Secret: "invented"}},
			}},
		}},
		Keys:          keys,
		TokenLifetime: time.Hour,
		FailureDelay:  time.Millisecond,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	now := time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)
	_, token, lifetime, err := authenticator.Issue(context.Background(), "talkdesk", "invented", now)
	if err != nil {
		fmt.Println(err)
		return
	}

	r := httptest.NewRequest(http.MethodPost, "/talkdesk/events", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	identity, err := authenticator.Authenticate(r, now)
	fmt.Println(identity.Account, identity.Credential, identity.Kind, err)
	_, err = authenticator.Authenticate(r, now.Add(lifetime))
	fmt.Println(err)
	// Output:
	// acme connections bearer <nil>
	// the credentials are not valid
}

package app

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func writeFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// reader returns a reader of an accounts file with the default settings.
func reader(t *testing.T, path string) *accountReader {
	t.Helper()
	var settings ServeSettings
	if err := ParseSettings(&settings, "--accounts="+path); err != nil {
		t.Fatal(err)
	}
	return &accountReader{
		env:      Environment{Lookup: func(string) (string, bool) { return "", false }},
		settings: settings.AccountSettings, rooms: &settings.Rooms, credentials: true,
	}
}

func TestReadAccountsFile(t *testing.T) {
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{
		"accounts.yaml": `
accounts:
  - name: acme
    talkdesk:
      apiKeys: [{name: automations, file: key-1}, {name: automations-next, file: key-2}]
      basic: [{name: digital, user: talkdesk, passwordFile: password}]
      clients: [{name: studio, id: acme-studio, secretFile: secret}]
      startEvents: [inbound_call_starts]
      rate: 50
    auvious:
      url: https://acme.auvious.example
      clientId: acme-client
      clientSecretFile: auvious
      applicationId: acme-app
      organizationId: acme-org
      destination: standalone
      urlBase: https://acme.example
      ticketExpiration: 2h
      timeout: 5s
      concurrency: 8
      rate: 20
  - name: plain
    talkdesk: {apiKeys: [{name: only, file: key-3}]}
    auvious: {clientId: plain-client, clientSecretFile: auvious}
`,
		"key-1": "k1\n", "key-2": "k2\n", "key-3": "k3\n", "password": "p\n", "secret": "s\n", "auvious": "a\n",
	})
	r := reader(t, filepath.Join(dir, "accounts.yaml"))
	accounts, err := r.read()
	if err != nil {
		t.Fatalf("reading: %v", err)
	}
	acme, plain := accounts[0], accounts[1]
	if got := acme.Talkdesk; len(got.APIKeys) != 2 || got.APIKeys[1].Key != "k2" || got.Basic[0].User != "talkdesk" ||
		got.Basic[0].Password != "p" || got.Clients[0].Secret != "s" || got.Rate != 50 ||
		!slices.Equal(got.StartEvents, []string{"inbound_call_starts"}) {
		t.Errorf("acme at Talkdesk: got %d keys, rate %v, starts %q", len(got.APIKeys), got.Rate, got.StartEvents)
	}
	if got := acme.Auvious; got.ClientID != "acme-client" || got.ClientSecret != "a" || got.Rate != 20 ||
		got.ApplicationID != "acme-app" || got.OrganizationID != "acme-org" || got.URLBase != "https://acme.example" ||
		got.TicketExpiration != 2*time.Hour || got.Timeout != 5*time.Second || got.Concurrency != 8 {
		t.Errorf("acme at auvious: got client %q, application %q, %v, %v, concurrency %d, rate %v",
			got.ClientID, got.ApplicationID, got.TicketExpiration, got.Timeout, got.Concurrency, got.Rate)
	}
	if got := plain.Auvious; got.URL != "https://auvious.video" || got.TicketExpiration != 4*time.Hour || got.Concurrency != 64 ||
		got.ApplicationID != "" || got.UnknownRetries != 3 {
		t.Errorf("defaults: got %q, %v, concurrency %d, application %q", got.URL, got.TicketExpiration, got.Concurrency, got.ApplicationID)
	}
	if got, want := len(r.files), 1+4+1+1+1; got != want {
		t.Errorf("watched files: got %d, want %d", got, want)
	}
}

func TestReadAccountsFileRefuses(t *testing.T) {
	const good = "    auvious: {clientId: c, clientSecretFile: secret}\n"
	for _, tc := range []struct{ name, text, says string }{
		{"nothing", "", "no accounts"},
		{"no YAML", "accounts: [", "line 1"},
		{"unknown key", "accounts:\n  - name: a\n    colour: red\n" + good, "line 3: field colour not found"},
		{"unknown key deep down", "accounts:\n  - name: a\n    talkdesk:\n      keys: []\n" + good, "line 4: field keys not found"},
		{"wrong type", "accounts:\n  - name: a\n    auvious: {concurrency: many}\n", "line 3"},
		{"no duration", "accounts:\n  - name: a\n    auvious: {timeout: soon}\n", "line 3"},
		{"bad name", "accounts:\n  - name: A.b\n" + good, "line 2"},
		{"name twice", "accounts:\n  - name: a\n" + good + "  - name: a\n" + good, `line 4: account "a": line 2 has the same name`},
		{"secret missing", "accounts:\n  - name: a\n    auvious: {clientId: c, clientSecretFile: nowhere}\n", "no such file"},
		{"secret empty", "accounts:\n  - name: a\n    auvious: {clientId: c, clientSecretFile: empty}\n", "empty"},
		{"no auvious", "accounts:\n  - name: a\n", "clientId"},
		{"key without a name", "accounts:\n  - name: a\n    talkdesk: {apiKeys: [{file: secret}]}\n" + good, "needs a name"},
		{"basic without a user", "accounts:\n  - name: a\n    talkdesk: {basic: [{name: b, passwordFile: secret}]}\n" + good, "its user"},
		{"concurrency", "accounts:\n  - name: a\n    auvious: {clientId: c, clientSecretFile: secret, concurrency: 0}\n", "concurrency is 0"},
		{"negative rate", "accounts:\n  - name: a\n    talkdesk: {rate: -1}\n" + good, "rate"},
		{"auvious by http", "accounts:\n  - name: a\n    auvious: {url: 'http://x.example', clientId: c, clientSecretFile: secret}\n", "http"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			writeFiles(t, dir, map[string]string{"accounts.yaml": tc.text, "secret": "a-secret-1234", "empty": "\n"})
			_, err := reader(t, filepath.Join(dir, "accounts.yaml")).read()
			if err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %v; want an error with %q", err, tc.says)
			}
			if err != nil && strings.Contains(err.Error(), "a-secret-1234") {
				t.Error("the error quotes a secret")
			}
		})
	}
}

// An account overrides the settings, even with a zero. It inherits what it leaves out,
// but neither credentials nor the application.
func TestAccountsInheritSettings(t *testing.T) {
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{
		"accounts.yaml": `
accounts:
  - name: inherits
    auvious: {clientId: c, clientSecretFile: secret}
  - name: overrides
    talkdesk: {rate: 0}
    auvious: {clientId: c, clientSecretFile: secret, rate: 0, url: "", timeout: 1s}
`,
		"secret": "s\n",
	})
	r := reader(t, filepath.Join(dir, "accounts.yaml"))
	r.settings.Rate, r.rooms.Rate, r.rooms.URL = 5, 7, "https://eu.auvious.example"
	r.settings.ApplicationID, r.rooms.OrganizationID = "not-inherited", "not-inherited"
	accounts, err := r.read()
	if err != nil {
		t.Fatalf("reading: %v", err)
	}
	for i, want := range []struct {
		rate, facadeRate float64
		timeout          time.Duration
	}{{5, 7, 10 * time.Second}, {0, 0, time.Second}} {
		got := accounts[i]
		if got.Talkdesk.Rate != want.rate || got.Auvious.Rate != want.facadeRate || got.Auvious.Timeout != want.timeout ||
			got.Auvious.URL != "https://eu.auvious.example" || got.Auvious.ApplicationID+got.Auvious.OrganizationID != "" {
			t.Errorf("account %q: got %+v, want %+v", got.Name, got.Auvious, want)
		}
	}
}

func TestAccountsFileAndSecretsOfOneAccount(t *testing.T) {
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{"accounts.yaml": "accounts: []"})
	r := reader(t, filepath.Join(dir, "accounts.yaml"))
	r.env.Lookup = func(name string) (string, bool) {
		if name == TalkdeskKey {
			return "x", true
		}
		return "", false
	}
	if _, err := r.read(); err == nil || !strings.Contains(err.Error(), TalkdeskKey) {
		t.Errorf("got %v; want an error that names %s", err, TalkdeskKey)
	}
}

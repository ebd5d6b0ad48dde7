package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
)

// writeFiles writes files into a directory, as careful programs do: a reader sees
// the old one or the new one.
func writeFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
}

// reader reads an accounts file with the default settings.
func reader(t *testing.T, path string) *accountReader {
	t.Helper()
	var serve serveCommand
	parser, err := kong.New(&serve)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse([]string{"--accounts=" + path}); err != nil {
		t.Fatal(err)
	}
	return &accountReader{
		world:    world{lookup: func(string) (string, bool) { return "", false }},
		settings: serve.accountSettings, rooms: &serve.auviousSettings, wantsCredentials: true,
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
	if len(acme.credentials.APIKeys) != 2 || acme.credentials.Basic[0].ID != "talkdesk" ||
		acme.credentials.Clients[0].Secret.Reveal() != "s" || acme.rate != 50 {
		t.Errorf("acme at Talkdesk: got %d keys, rate %v", len(acme.credentials.APIKeys), acme.rate)
	}
	if got := acme.rooms; got.clientID != "acme-client" || got.clientSecret.Reveal() != "a" || got.rate != 20 ||
		got.ticketExpiration != 2*time.Hour || got.timeout != 5*time.Second || got.concurrency != 8 {
		t.Errorf("acme at auvious: got client %q, %v, %v, %d at once, rate %v",
			got.clientID, got.ticketExpiration, got.timeout, got.concurrency, got.rate)
	}
	if got := plain.rooms; got.url != "https://auvious.video" || got.ticketExpiration != 4*time.Hour || got.concurrency != 64 {
		t.Errorf("defaults: got %q, %v, %d at once", got.url, got.ticketExpiration, got.concurrency)
	}
	if got, want := len(r.files), 1+4+1+1+1; got != want {
		t.Errorf("files that are watched: got %d, want %d", got, want)
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
		{"name twice", "accounts:\n  - name: a\n" + good + "  - name: a\n" + good, `line 4: account "a" is there already, in line 2`},
		{"secret missing", "accounts:\n  - name: a\n    auvious: {clientId: c, clientSecretFile: nowhere}\n", "no such file"},
		{"secret empty", "accounts:\n  - name: a\n    auvious: {clientId: c, clientSecretFile: empty}\n", "empty"},
		{"no auvious", "accounts:\n  - name: a\n", "clientId"},
		{"key without a name", "accounts:\n  - name: a\n    talkdesk: {apiKeys: [{file: secret}]}\n" + good, "has a name"},
		{"basic without a user", "accounts:\n  - name: a\n    talkdesk: {basic: [{name: b, passwordFile: secret}]}\n" + good, "a user"},
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

func TestAccountsFileAndSecretsOfOneAccount(t *testing.T) {
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{"accounts.yaml": "accounts: []"})
	r := reader(t, filepath.Join(dir, "accounts.yaml"))
	r.world.lookup = func(name string) (string, bool) {
		if name == talkdeskKey {
			return "x", true
		}
		return "", false
	}
	if _, err := r.read(); err == nil || !strings.Contains(err.Error(), talkdeskKey) {
		t.Errorf("got %v; want an error that names %s", err, talkdeskKey)
	}
}

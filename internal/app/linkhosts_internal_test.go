package app

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"roomlink/internal/accounts"
)

// An account has link hosts of its own, none, or those of the settings.
func TestLinkHostsOfAccounts(t *testing.T) {
	dir := t.TempDir()
	read := func(text string) ([]accounts.Account, error) {
		t.Helper()
		writeFiles(t, dir, map[string]string{"accounts.yaml": text, "secret": "s\n"})
		r := reader(t, filepath.Join(dir, "accounts.yaml"))
		r.settings.LinkHosts = accounts.LinkHosts{"auvious.video"}
		return r.read()
	}
	const rooms = "    auvious: {clientId: c, clientSecretFile: secret}\n"
	all, err := read("accounts:\n  - name: inherits\n" + rooms +
		"  - name: overrides\n    linkHosts: [rooms.example, \"*.rooms.example\"]\n" + rooms +
		"  - name: any\n    linkHosts: []\n" + rooms)
	if err != nil {
		t.Fatalf("reading: %v", err)
	}
	for i, want := range []accounts.LinkHosts{{"auvious.video"}, {"rooms.example", "*.rooms.example"}, {}} {
		if got := all[i].LinkHosts; !slices.Equal(got, want) {
			t.Errorf("account %q: got %q, want %q", all[i].Name, got, want)
		}
	}
	_, err = read("accounts:\n  - name: a\n    linkHosts: [\"https://auvious.video\"]\n" + rooms)
	if err == nil || !strings.Contains(err.Error(), "line 2") || !strings.Contains(err.Error(), "linkHosts") {
		t.Errorf("a URL as a link host: got %v, want an error with the line and the key", err)
	}
}

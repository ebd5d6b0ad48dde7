package main

import (
	"encoding/json"
	"net/http"
	"testing"

	"roomlink/internal/programtest"
	"roomlink/internal/simulator"
)

// pageNames are the fields of every answer that tells the pages of a conversation.
var pageNames = []string{"contextUrl", "customerUrl", "cardUrl"}

// TestPages has the webhook, the viewer and the operator's command tell the same
// pages of a conversation, though key and address are known to "serve" alone.
func TestPages(t *testing.T) {
	t.Parallel()
	env := programtest.ServeEnv(t, programtest.StartAuvious(t, simulator.Config{}).URL)
	env["ROOMLINK_BROKER_LISTEN"] = programtest.FreeAddress(t)
	delete(env, "ROOMLINK_LINK_KEY")
	base := start(t, env, "serve").Address("public")
	for attempt := 1; ; attempt++ {
		posted := programtest.Post(t, base, "call-1").Fields
		programtest.Ready(t, base, "call-1")
		_, stdout, stderr := command(t, env, "links", "get", "call-1", "--json")
		got := programtest.Ask(t, http.MethodGet, base+"/links/call-1", "").Fields
		if got["cardUrl"] != posted["cardUrl"] && attempt == 1 {
			continue // an hour may have ended meanwhile, with which they change
		}
		var printed map[string]any
		if err := json.Unmarshal([]byte(stdout), &printed); err != nil {
			t.Fatalf("links get: got error %v, want JSON\n%s", err, stderr)
		}
		for _, name := range pageNames {
			if posted[name] == "" || got[name] != posted[name] || printed[name] != posted[name] {
				t.Errorf("%s: got one from the webhook: %v, the same from the viewer: %v and from links get: %v; want all true",
					name, posted[name] != "", got[name] == posted[name], printed[name] == posted[name])
			}
		}
		return
	}
}

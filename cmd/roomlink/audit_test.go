package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"roomlink/internal/programtest"
	"roomlink/internal/simulator"
)

// auditKeys are what an audit line says of a call, whatever came of it.
var auditKeys = []string{"account", "credential", "shape", "interaction_id", "outcome"}

// TestAudit makes one call of each kind, and looks for exactly one line of each,
// in their order.
func TestAudit(t *testing.T) {
	t.Parallel()
	p := start(t, programtest.ServeEnv(t, programtest.StartAuvious(t, simulator.Config{}).URL), "serve")
	host := p.Address("public")
	byKey := caller{host, http.Header{"X-Api-Key": {programtest.APIKey}}}
	byBasic := basic(host, "talkdesk", programtest.BasicPassword)
	token := caller{base: host}.fetchToken(t, "studio", programtest.TalkdeskSecret).token(t)
	byToken := bearer(host, token)
	action := strings.ReplaceAll(pageInput(t, "app-1"), "abc123", "audit-2")

	const (
		key      = "default roomlink_talkdesk_api_key "
		password = "default roomlink_talkdesk_basic_password "
		client   = "default roomlink_talkdesk_client_secret "
		nobody   = "  "
	)
	want := []string{client + "token  token_issued"}
	for _, tc := range []struct {
		caller           caller
		path, body, want string
	}{
		{byKey, eventsPath, programtest.StartEvent("audit-1"), key + "automation audit-1 accepted"},
		{byBasic, eventsPath, programtest.StartEvent("audit-1"), password + "automation audit-1 duplicate"},
		{byToken, eventsPath, `{"event_type":"CONVERSATION_STARTED","conversation_id":"audit-3"}`, client + "digital_connect audit-3 accepted"},
		{byKey, eventsPath, end, key + "automation ended ignored"},
		{byKey, eventsPath, `{"event":`, key + "  refused"},
		{byKey, eventsPath, programtest.StartEvent("{{interaction_id}}"), key + "  refused"},
		{byToken, actionPath, action, client + "action audit-2 ticket_given\n" + client + "action audit-2 accepted"},
		{byToken, actionPath, action, client + "action audit-2 ticket_given\n" + client + "action audit-2 known"},
		{byToken, actionPath, `{}`, client + "action  refused"},
		{byToken, actionPath, pageInput(t, "app-2"), client + "action  refused"},
		{bearer(host, "made-up"), actionPath, action, nobody + "action  unauthorized"},
		{caller{base: host}, eventsPath, programtest.StartEvent("audit-4"), nobody + "  unauthorized"},
		{caller{host, http.Header{"X-Api-Key": {"guess"}}}, eventsPath, programtest.StartEvent("audit-4"), nobody + "  unauthorized"},
		{caller{base: host}, tokenPath, "{}", nobody + "token  token_refused"},
		{byToken, "/links/audit-2/renew", "", client + "api audit-2 accepted"},
		{byKey, "/links/audit-unknown/renew", "", key + "api audit-unknown refused"},
		{byKey, eventsPath, programtest.StartEvent("audit-last"), key + "automation audit-last accepted"},
	} {
		tc.caller.post(t, tc.path, "application/json", tc.body)
		want = append(want, strings.Split(tc.want, "\n")...)
	}
	p.Line(map[string]string{"kind": "audit", "interaction_id": "audit-last"})
	wantAudit(t, p.Log(), want)
}

// Behind a trusted proxy, the audit has the caller's own address, also for a ticket that the customer takes.
func TestAuditBehindProxy(t *testing.T) {
	t.Parallel()
	env := programtest.ServeEnv(t, programtest.StartAuvious(t, simulator.Config{}).URL)
	env["ROOMLINK_TRUSTED_PROXIES"] = "127.0.0.0/8,::1"
	p := start(t, env, "serve")
	behind := caller{p.Address("public"), http.Header{
		"X-Api-Key": {programtest.APIKey}, "X-Forwarded-For": {"127.0.0.1, 198.51.100.7"},
	}}
	behind.post(t, eventsPath, "application/json", programtest.StartEvent("proxied"))
	p.Line(map[string]string{"kind": "audit", "remote": "198.51.100.7", "outcome": "accepted", "interaction_id": "proxied"})
	p.Line(map[string]string{"message": "links stored", "interaction_id": "proxied"})
	behind.post(t, actionPath, "application/json", strings.ReplaceAll(pageInput(t, "app-1"), "abc123", "proxied"))
	p.Line(map[string]string{"kind": "audit", "remote": "198.51.100.7", "outcome": "ticket_given", "interaction_id": "proxied"})
}

// wantAudit compares the audit lines of a log.
func wantAudit(t *testing.T, log string, want []string) {
	t.Helper()
	var got []string
	for text := range strings.Lines(log) {
		var line map[string]any
		if json.Unmarshal([]byte(text), &line) != nil || line["kind"] != "audit" {
			continue
		}
		var values []string
		for _, key := range auditKeys {
			value, ok := line[key].(string)
			if !ok {
				t.Errorf("got a line without %s: %s", key, text)
			}
			values = append(values, value)
		}
		remote, err := netip.ParseAddrPort(fmt.Sprint(line["remote"]))
		if err != nil || !remote.Addr().IsLoopback() {
			t.Errorf("remote: got %v, want the caller's address", line["remote"])
		}
		if _, ok := line["time"].(string); !ok {
			t.Errorf("got a line without a time: %s", text)
		}
		got = append(got, strings.Join(values, " "))
	}
	for i := range max(len(got), len(want)) {
		g, w := "no line", "no line"
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			t.Errorf("line %d: got %q, want %q", i, g, w)
		}
	}
}

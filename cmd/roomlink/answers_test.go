package main

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"roomlink/internal/programtest"
	"roomlink/internal/simulator"
	"roomlink/messages"
	"roomlink/worker/auvious"
)

// faultyAccount is an account with an auvious of its own that misbehaves, and what follows for one event.
type faultyAccount struct {
	name string
	// fault is a named fault of the simulator; the name if empty.
	fault      string
	retryAfter string
	// settings are further settings of auvious in YAML.
	settings string

	// message and err are those of a line in the log; "" if the log must not warn.
	message, err string
	// endpoint and cause are those of the failures, and failures their number.
	endpoint, cause string
	failures        int
	// orphans is the cause of one possible orphan room; "" for none.
	orphans string
	rooms   int
	// reason is that of the dead letter; "" if there are links.
	reason string
}

// The messages of the lines.
const (
	retried      = "event will be retried"
	replaced     = "access token refused: fetching another"
	deadLettered = "event became a dead letter"
)

// The beginnings of the errors.
const (
	accessError  = "auvious gave the account no access: "
	notDoneError = "auvious did not carry out the call: room endpoint: "
	unknownError = "the outcome of the call is unknown: room endpoint: "
)

// faultyAccounts has at least one account for each named fault. Every fault of a single call ends in links.
var faultyAccounts = []faultyAccount{
	// Somebody in between answers: not done.
	{
		name: "ingress-404", fault: "ingress-404:first=1", message: retried, err: notDoneError + "404 text/plain, not JSON",
		endpoint: "room", cause: "not_auvious", failures: 1, rooms: 1,
	},
	{
		name: "firewall-403", fault: "firewall-403:first=1", message: retried, err: notDoneError + "403 text/html, not JSON",
		endpoint: "room", cause: "not_auvious", failures: 1, rooms: 1,
	},
	{
		name: "misdirected", fault: "misdirected:first=1", message: retried, err: notDoneError + "421 text/html, not JSON",
		endpoint: "room", cause: "not_auvious", failures: 1, rooms: 1,
	},
	{
		name: "redirect", fault: "redirect:first=1", message: retried,
		err:      notDoneError + "302 text/html, a redirect: check the URL of auvious",
		endpoint: "room", cause: "redirect", failures: 1, rooms: 1,
	},
	{
		name: "cloudflare-521", fault: "cloudflare-521:first=1", message: retried, err: notDoneError + "521 text/html, not JSON",
		endpoint: "room", cause: "unavailable", failures: 1, rooms: 1,
	},
	{
		name: "busy", fault: "busy:first=1", retryAfter: "1.5", message: retried,
		err:      notDoneError + "429 application/json, JSON with an error",
		endpoint: "room", cause: "too_many_requests", failures: 1, rooms: 1,
	},

	// A room may exist.
	{
		name: "gateway-502", fault: "gateway-502:first=1", message: retried,
		err:      "auvious most likely did not carry out the call: room endpoint: 502 text/html, not JSON",
		endpoint: "room", cause: "bad_gateway", failures: 1, orphans: "bad_gateway", rooms: 2,
	},
	{
		name: "gateway-504", fault: "gateway-504:first=1", message: retried, err: unknownError + "504 text/html, not JSON",
		endpoint: "room", cause: "gateway_timeout", failures: 1, orphans: "unknown_outcome", rooms: 2,
	},
	{
		name: "cloudflare-520", fault: "cloudflare-520:first=1", message: retried, err: unknownError + "520 text/html, not JSON",
		endpoint: "room", cause: "gateway_timeout", failures: 1, orphans: "unknown_outcome", rooms: 2,
	},
	{
		name: "cloudflare-524", fault: "cloudflare-524:first=1", message: retried, err: unknownError + "524 text/html, not JSON",
		endpoint: "room", cause: "gateway_timeout", failures: 1, orphans: "unknown_outcome", rooms: 2,
	},
	{
		name: "drop", fault: "drop:first=1", message: retried,
		err:      unknownError + "the call was sent but not answered: connection lost",
		endpoint: "room", cause: "connection_lost", failures: 1, orphans: "unknown_outcome", rooms: 2,
	},
	{
		name: "hang", fault: "hang:first=1", settings: "timeout: 3s", message: retried,
		err:      unknownError + "the call was sent but not answered: timed out",
		endpoint: "room", cause: "timeout", failures: 1, orphans: "unknown_outcome", rooms: 2,
	},
	{
		name: "cut-off", fault: "cut-off:first=1", message: retried, err: unknownError + "200 application/json, cut off",
		endpoint: "room", cause: "cut_off", failures: 1, orphans: "unknown_outcome", rooms: 2,
	},
	{
		name: "gateway-504-always", fault: "gateway-504", message: deadLettered, err: unknownError + "504 text/html, not JSON",
		endpoint: "room", cause: "gateway_timeout", failures: 2, orphans: "unknown_outcome", rooms: 2,
		reason: messages.ReasonUnknownOutcome,
	},

	// auvious refuses the event.
	{
		name: "rejected", message: deadLettered,
		err:      "auvious refused the request: room endpoint: 422 application/json, error: simulated fault",
		endpoint: "room", cause: "rejected", failures: 1, reason: messages.ReasonRejected,
	},
	{
		name: "no-links", message: deadLettered,
		err:      "auvious answered without usable links: room endpoint: 200 application/json, agentUrl is missing",
		endpoint: "room", cause: "bad_links", failures: 1, rooms: 1, reason: messages.ReasonBadAnswer,
	},

	// auvious refuses the token: once, and twice.
	{
		name: "first-token-invalid", message: replaced, err: accessError + "room endpoint: 403 application/json, the access token is refused",
		endpoint: "room", cause: "invalid_token", failures: 1, rooms: 1,
	},
	{
		name: "invalid-token", fault: "invalid-token:first=1", message: replaced,
		err:      accessError + "room endpoint: 403 application/json, the access token is refused",
		endpoint: "room", cause: "invalid_token", failures: 1, rooms: 1,
	},
	{
		name: "invalid-token-header", fault: "invalid-token-header:first=1", message: replaced,
		err:      accessError + "room endpoint: 400 application/json, the access token is refused",
		endpoint: "room", cause: "invalid_token", failures: 1, rooms: 1,
	},
	{
		name: "invalid-token-twice", fault: "invalid-token:first=2", message: retried,
		err:      accessError + "room endpoint: 403 application/json, the access token is refused",
		endpoint: "room", cause: "invalid_token", failures: 2, rooms: 1,
	},

	// The token endpoint fails: the account's fault.
	{
		name: "token-html", fault: "token-html:first=1", message: retried, err: accessError + "token endpoint: 200 text/html, not JSON",
		endpoint: "token", cause: "not_json", failures: 1, rooms: 1,
	},
	{
		name: "token-empty", fault: "token-empty:first=1", message: retried, err: accessError + "token endpoint: 200 application/json, empty",
		endpoint: "token", cause: "empty", failures: 1, rooms: 1,
	},
	{
		name: "token-ingress-404", fault: "token-ingress-404:first=1", message: retried,
		err:      accessError + "token endpoint: 404 text/plain, not JSON",
		endpoint: "token", cause: "not_auvious", failures: 1, rooms: 1,
	},
	{
		name: "token-unavailable", fault: "token-unavailable:first=1", message: retried,
		err:      accessError + "token endpoint: 503 text/html, not JSON",
		endpoint: "token", cause: "unavailable", failures: 1, rooms: 1,
	},
	{
		name: "token-refused", fault: "token-refused:first=1", message: retried,
		err:      accessError + "token endpoint: 401 application/json, invalid_client",
		endpoint: "token", cause: "invalid_client", failures: 1, rooms: 1,
	},
	{
		name: "token-drop", fault: "token-drop:first=1", message: retried,
		err:      accessError + "token endpoint: no answer: connection lost",
		endpoint: "token", cause: "connection_lost", failures: 1, rooms: 1,
	},
	{
		name: "token-type-mac", fault: "token-type-mac:first=1", message: retried,
		err:      accessError + "token endpoint: 200 application/json, a token_type other than bearer",
		endpoint: "token", cause: "bad_token_type", failures: 1, rooms: 1,
	},
	{
		name: "token-broken", fault: "token-broken:first=1", message: retried,
		err:      accessError + "token endpoint: 200 application/json, an access_token with a character that is not allowed",
		endpoint: "token", cause: "bad_token", failures: 1, rooms: 1,
	},

	// Harmless oddities change nothing.
	{name: "recording-null", rooms: 1},
	{name: "recording-absent", rooms: 1},
	{name: "bom", rooms: 1},
	{name: "text-plain", rooms: 1},
	{name: "no-content-type", rooms: 1},
	{name: "gzip", rooms: 1},
	{name: "false-gzip", rooms: 1},
	{name: "token-type-absent", rooms: 1},
	{name: "token-line-break", rooms: 1},
	{name: "token-expires-decimal", rooms: 1},
	{name: "token-expires-exponent", rooms: 1},
	{name: "token-expires-text", rooms: 1},
	{name: "token-expires-empty", rooms: 1},
}

// TestAnswersOfAuvious: one event of each account meets a fault of auvious, or of somebody in between. It ends as the
// reference says, and log, metrics and dead letter say what came.
func TestAnswersOfAuvious(t *testing.T) {
	t.Parallel()
	wantEveryFault(t)
	p := startFaulty(t, map[string]string{"ROOMLINK_UNKNOWN_RETRIES": "1"}, faultyAccounts)
	states := make([]map[string]string, len(faultyAccounts))
	var posting sync.WaitGroup
	for i, a := range faultyAccounts {
		posting.Go(func() { states[i] = p.post(t, a.name, "call-1") })
	}
	posting.Wait()
	_, metrics := programtest.Visit(t, p.ops+"/metrics")
	letters := p.deadLetters(t)
	told := p.Log() + metrics + fmt.Sprint(letters)
	for i, a := range faultyAccounts {
		t.Run(a.name, func(t *testing.T) {
			a.wantState(t, states[i], letters)
			a.wantLog(t, p)
			a.wantMetrics(t, metrics)
			stats := p.auvious[a.name].Stats()
			if stats.RoomsMade != a.rooms || stats.TicketFetches != 0 {
				t.Errorf("got %d rooms and %d fetches of a ticket, want %d and 0", stats.RoomsMade, stats.TicketFetches, a.rooms)
			}
			if ticket := states[i]["ticketUrl"]; ticket != "" && strings.Contains(told, ticket) {
				t.Error("the ticket is in the log, the metrics or a dead letter")
			}
		})
	}
	for _, text := range []string{programtest.AuviousSecret, "Bearer ", "default backend", "<title>"} {
		if strings.Contains(told, text) {
			t.Errorf("%q is in the log, the metrics or a dead letter", text)
		}
	}
}

// wantEveryFault checks that the accounts meet every named fault of the simulator.
func wantEveryFault(t *testing.T) {
	t.Helper()
	faults := simulator.NamedFaults()
	for _, a := range faultyAccounts {
		delete(faults, a.name)
	}
	for name := range faults {
		t.Errorf("no account meets the fault %s", name)
	}
}

// wantState compares how the event ended.
func (a faultyAccount) wantState(t *testing.T, state map[string]string, letters map[string]messages.DeadLetter) {
	t.Helper()
	if a.reason == "" {
		if state["status"] != "ready" || state["recordingUrl"] != "" || letters[a.name].Reason != "" {
			t.Errorf("got status %q and a dead letter %q, want ready and none", state["status"], letters[a.name].Reason)
		}
		return
	}
	if letter := letters[a.name]; state["status"] != "failed" || letter.Reason != a.reason || letter.Detail != a.err {
		t.Errorf("got status %q and the dead letter %q with detail %q, want failed, %q and %q",
			state["status"], letter.Reason, letter.Detail, a.reason, a.err)
	}
}

// wantLog looks for the account's line in the log. Without one, there must be no warning.
func (a faultyAccount) wantLog(t *testing.T, p faultyProgram) {
	t.Helper()
	if a.message == "" {
		for line := range strings.Lines(p.Log()) {
			if strings.Contains(line, fmt.Sprintf(`"account":%q`, a.name)) && !strings.Contains(line, `"level":"info"`) &&
				!strings.Contains(line, `"level":"debug"`) {
				t.Errorf("log: got %s, want no warning", line)
			}
		}
		return
	}
	line := p.Line(map[string]string{"account": a.name, "message": a.message, "error": a.err})
	if delay := line["retry_in_ms"]; a.retryAfter != "" && delay != 2000.0 {
		t.Errorf("delay after Retry-After %s: got %v ms, want 2000", a.retryAfter, delay)
	}
}

// wantMetrics compares the account's failures and possible orphan rooms.
func (a faultyAccount) wantMetrics(t *testing.T, metrics string) {
	t.Helper()
	want := map[string]string{}
	if a.failures > 0 {
		want[fmt.Sprintf(`roomlink_facade_failures_total{account=%q,cause=%q,endpoint=%q}`, a.name, a.cause, a.endpoint)] = strconv.Itoa(a.failures)
	}
	if a.orphans != "" {
		want[fmt.Sprintf(`roomlink_orphans_possible_total{account=%q,cause=%q}`, a.name, a.orphans)] = strconv.Itoa(a.failures)
	}
	for line := range strings.Lines(metrics) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		ours := strings.Contains(name, fmt.Sprintf(`account=%q`, a.name))
		if !ours || !strings.HasPrefix(name, "roomlink_facade_failures_total") && !strings.HasPrefix(name, "roomlink_orphans") {
			continue
		}
		if wanted := cmp.Or(want[name], "0"); wanted != value {
			t.Errorf("metric %s: got %s, want %s", name, value, wanted)
		}
		delete(want, name)
	}
	for name := range want {
		t.Errorf("metric %s: got none, want one", name)
	}
}

// TestAnswersOutlastTheEvent: auvious fails until the event expires. The dead letter says what came.
func TestAnswersOutlastTheEvent(t *testing.T) {
	t.Parallel()
	accounts := []faultyAccount{
		{name: "ingress-404", err: notDoneError + "404 text/plain, not JSON", reason: messages.ReasonExpired},
		{name: "invalid-token", err: accessError + "room endpoint: 403 application/json, the access token is refused", reason: messages.ReasonExpired},
		{name: "token-html", err: accessError + "token endpoint: 200 text/html, not JSON", reason: messages.ReasonExpired},
		{name: "token-drop", err: accessError + "token endpoint: no answer: connection lost", reason: messages.ReasonExpired},
		{
			name: "token-broken", reason: messages.ReasonExpired,
			err: accessError + "token endpoint: 200 application/json, an access_token with a character that is not allowed",
		},
	}
	p := startFaulty(t, map[string]string{"ROOMLINK_GIVE_UP_AFTER": "1ns"}, accounts)
	for _, a := range accounts {
		state := p.post(t, a.name, "call-1")
		a.wantState(t, state, p.deadLetters(t))
	}
}

// TestIngressWithoutBackend: an ingress answers in place of auvious for 3 s. No event is lost, and each gets one room.
func TestIngressWithoutBackend(t *testing.T) {
	t.Parallel()
	const events = 20
	p := startFaulty(t, nil, []faultyAccount{{name: "acme", fault: "ingress-404:for=3s"}})
	var posting sync.WaitGroup
	for i := range events {
		posting.Go(func() {
			if got := p.post(t, "acme", fmt.Sprintf("call-%d", i)); got["status"] != "ready" {
				t.Errorf("event %d: got status %q, want ready", i, got["status"])
			}
		})
	}
	posting.Wait()
	if stats := p.auvious["acme"].Stats(); stats.RoomsMade != events || stats.Doubles != 0 {
		t.Errorf("rooms: got %d with %d doubles, want %d without", stats.RoomsMade, stats.Doubles, events)
	}
	if letters := p.deadLetters(t); len(letters) != 0 {
		t.Errorf("dead letters: got %d, want none", len(letters))
	}
	p.Line(map[string]string{"message": "breaker changed", "breaker": "open", "error": notDoneError + "404 text/plain, not JSON"})
}

// TestReferenceCauses compares the causes in the reference with those of the client.
func TestReferenceCauses(t *testing.T) {
	_, table, _ := strings.Cut(readFile(t, referencePath), "\n| cause | what came |\n")
	table, _, _ = strings.Cut(table, "\n\n")
	var got []auvious.Cause
	for row := range strings.Lines(table) {
		causes, _, _ := strings.Cut(strings.TrimPrefix(row, "|"), "|")
		for _, match := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(causes, -1) {
			got = append(got, auvious.Cause(match[1]))
		}
	}
	slices.Sort(got)
	if want := auvious.Causes(); !slices.Equal(got, want) {
		t.Errorf("causes in %s: got %v, want %v", referencePath, got, want)
	}
}

package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"roomlink/internal/app"
	"roomlink/internal/programtest"
	"roomlink/internal/simulator"
	"roomlink/messages"
)

// faultyProgram is a "serve" with faulty accounts.
type faultyProgram struct {
	*programtest.Program
	env       map[string]string
	base, ops string
	auvious   map[string]programtest.Auvious
}

// startFaulty runs a "serve" with the given settings and accounts. The API key of an account is "key-of-" and its name.
func startFaulty(t *testing.T, settings map[string]string, accounts []faultyAccount) faultyProgram {
	t.Helper()
	p := faultyProgram{auvious: map[string]programtest.Auvious{}}
	dir := t.TempDir()
	files := map[string]string{"auvious": programtest.AuviousSecret}
	var text strings.Builder
	text.WriteString("accounts:\n")
	for _, a := range accounts {
		if a.fault == "" {
			a.fault = a.name
		}
		p.auvious[a.name] = programtest.StartAuvious(t, simulator.Config{
			Faults: simulator.Faults{Named: []string{a.fault}, RetryAfter: a.retryAfter},
		})
		files[a.name] = "key-of-" + a.name
		fmt.Fprintf(&text, "  - name: %s\n    talkdesk: {apiKeys: [{name: key, file: %s}]}\n    auvious: {url: %q, "+
			"clientId: auvious-client, clientSecretFile: auvious, applicationId: app-1, %s}\n",
			a.name, a.name, p.auvious[a.name].URL, a.settings)
	}
	files["accounts.yaml"] = text.String()
	writeFiles(t, dir, files)
	p.env = programtest.ServeEnv(t, "")
	for _, name := range []string{
		app.AuviousSecret, app.TalkdeskKey, app.TalkdeskBasic, app.TalkdeskSecret,
		"ROOMLINK_TALKDESK_BASIC_USER", "ROOMLINK_TALKDESK_CLIENT_ID", "ROOMLINK_AUVIOUS_URL",
	} {
		delete(p.env, name)
	}
	p.env["ROOMLINK_ACCOUNTS"] = filepath.Join(dir, "accounts.yaml")
	p.env["ROOMLINK_BROKER_LISTEN"] = programtest.FreeAddress(t)
	maps.Copy(p.env, settings)
	p.Program = start(t, p.env, "serve")
	p.base, p.ops = p.Address("public"), p.Address("operations")
	return p
}

// ask calls an endpoint with the key of an account.
func (p faultyProgram) ask(t *testing.T, account, method, path, body string) programtest.Reply {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, p.base+path, strings.NewReader(body))
	if err != nil {
		t.Errorf("making a request: %v", err)
		return programtest.Reply{}
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-API-Key", "key-of-"+account)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Errorf("calling %s: %v", path, err)
		return programtest.Reply{}
	}
	defer response.Body.Close()
	reply := programtest.Reply{Status: response.StatusCode}
	if err := json.NewDecoder(response.Body).Decode(&reply.Fields); err != nil {
		t.Errorf("decoding the answer of %s: %v", path, err)
	}
	return reply
}

// post sends the event of a conversation and waits until it is ready or failed. It returns its state.
func (p faultyProgram) post(t *testing.T, account, id string) map[string]string {
	t.Helper()
	if got := p.ask(t, account, http.MethodPost, "/talkdesk/events", programtest.StartEvent(id)); got.Status != http.StatusAccepted {
		t.Errorf("account %s: got %d %v, want 202", account, got.Status, got.Fields)
		return nil
	}
	for range 3 {
		got := p.ask(t, account, http.MethodGet, "/links/"+id+"?wait=20s", "")
		if got.Status != http.StatusOK || got.Fields["status"] != "pending" {
			return got.Fields
		}
	}
	t.Errorf("account %s: got no links and no dead letter of %s after a minute, want one", account, id)
	return nil
}

// deadLetters returns the dead letters of all accounts as the command shows them.
func (p faultyProgram) deadLetters(t *testing.T) map[string]messages.DeadLetter {
	t.Helper()
	code, stdout, stderr := command(t, p.env, "deadletters", "show", "--all-accounts", "--json")
	if code != 0 {
		t.Fatalf("deadletters show: got exit code %d, want 0\n%s", code, stderr)
	}
	letters := map[string]messages.DeadLetter{}
	for line := range strings.Lines(stdout) {
		var letter messages.DeadLetter
		if err := json.Unmarshal([]byte(line), &letter); err != nil {
			t.Fatalf("decoding a dead letter: %v", err)
		}
		letters[letter.Account] = letter
	}
	return letters
}

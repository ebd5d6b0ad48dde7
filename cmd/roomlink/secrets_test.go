package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"roomlink/internal/programtest"
	"roomlink/internal/simulator"
)

// TestNoSecretIsTold runs every outcome with the log at its lowest level, and
// looks for secrets in all that the program tells.
func TestNoSecretIsTold(t *testing.T) {
	t.Parallel()
	a := programtest.StartAuvious(t, simulator.Config{})
	a.Script(func(call simulator.Call) *simulator.Answer {
		switch {
		case call.InteractionID == "rejected":
			return &simulator.Answer{Status: 400, Body: `{"error":"no, see https://video.example/t/abc123def"}`}
		case call.InteractionID == "lying":
			return &simulator.Answer{Status: 200, Body: `{"agentUrl":"nonsense","ticketUrl":"https://video.example/t/abc123def","recordingUrl":""}`}
		case call.InteractionID == "again" && call.Number == 1:
			return &simulator.Answer{Status: 503}
		}
		return nil
	})
	env := programtest.ServeEnv(t, a.URL)
	env["ROOMLINK_SUBSCRIBERS"] = "crm"
	p := start(t, env, "serve")
	base, ops := p.Address("public"), p.Address("operations")

	var tickets []string
	for _, id := range []string{"plain", "again"} {
		answered := programtest.Post(t, base, id)
		links := programtest.Ready(t, base, id)
		tickets = append(tickets, links["ticketUrl"])
		programtest.Visit(t, links["contextUrl"])
		programtest.Visit(t, links["cardUrl"])
		programtest.Visit(t, answered.Fields["customerUrl"])
		for _, page := range []string{"contextUrl", "customerUrl", "cardUrl"} {
			tickets = append(tickets, links[page][strings.LastIndex(links[page], "/")+1:])
		}
	}
	for _, id := range []string{"rejected", "lying"} {
		programtest.Post(t, base, id)
		if got := programtest.Ask(t, http.MethodGet, base+"/links/"+id+"?wait=20s", ""); got.Fields["status"] != "failed" {
			t.Errorf("state of %q: got %v, want failed", id, got.Fields["status"])
		}
	}
	askWith(t, base+"/talkdesk/events", "X-API-Key", "wrong-api-key-123456")
	token := fetchToken(t, base)
	askWith(t, base+"/talkdesk/events", "Authorization", "Bearer "+token)
	_, metrics := programtest.Visit(t, ops+"/metrics")
	if code := p.Stop(); code != 0 {
		t.Errorf("exit code: got %d, want 0", code)
	}

	told := p.Log() + p.Output() + metrics
	secrets := slices.Concat(tickets, []string{
		programtest.APIKey, programtest.BasicPassword, programtest.TalkdeskSecret, programtest.AuviousSecret, programtest.LinkKey,
		"wrong-api-key-123456", token, "/t/abc123def",
	})
	for _, name := range []string{"operator.password", "subscribers/crm@default.password"} {
		password, err := os.ReadFile(filepath.Join(env["ROOMLINK_DATA_DIR"], name))
		if err != nil {
			t.Fatal(err)
		}
		secrets = append(secrets, strings.TrimSpace(string(password)))
	}
	for i, text := range secrets {
		if text == "" {
			t.Errorf("secret %d of the test is empty", i)
		} else if strings.Contains(told, text) {
			t.Errorf("secret %d of the test is in the log or the metrics", i)
		}
	}
	if got := a.Stats().TicketFetches; got != 0 {
		t.Errorf("fetches of a ticket: got %d, want 0", got)
	}
}

// askWith posts an event with one header of credentials.
func askWith(t *testing.T, address, header, value string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader(programtest.StartEvent("x")))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set(header, value)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
}

func fetchToken(t *testing.T, base string) string {
	t.Helper()
	form := fmt.Sprintf("grant_type=client_credentials&client_id=studio&client_secret=%s", programtest.TalkdeskSecret)
	response, err := http.Post(base+"/security/oauth/token", "application/x-www-form-urlencoded", strings.NewReader(form))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("fetching a token: got %d, %v", response.StatusCode, err)
	}
	_, rest, _ := strings.Cut(string(body), `"access_token":"`)
	token, _, _ := strings.Cut(rest, `"`)
	return token
}

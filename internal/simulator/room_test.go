package simulator_test

import (
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"roomlink/internal/simulator"
)

func TestRoomIsNotIdempotent(t *testing.T) {
	a := serve(t, simulator.Config{BaseURL: "https://rooms.example/"})
	token := a.token(t)
	first := mustDo(t, a.roomRequest(t, token, roomBody("one"))).fields(t)
	second := mustDo(t, a.roomRequest(t, token, roomBody("one"))).fields(t)
	mustDo(t, a.roomRequest(t, token, roomBody("two")))

	keys := slices.Sorted(maps.Keys(first))
	if want := []string{"agentUrl", "recordingUrl", "ticketUrl"}; !slices.Equal(keys, want) {
		t.Errorf("got keys %v, want %v", keys, want)
	}
	ticket := regexp.MustCompile(`^https://rooms\.example/t/[a-z0-9]{9}$`)
	if got := first["ticketUrl"].(string); !ticket.MatchString(got) {
		t.Errorf("got ticketUrl %q, want %v", got, ticket)
	}
	if got := first["recordingUrl"]; got != "" {
		t.Errorf("got recordingUrl %q, want it empty", got)
	}
	for _, key := range []string{"agentUrl", "ticketUrl"} {
		if first[key] == second[key] {
			t.Errorf("got the same %s twice, want two", key)
		}
	}
	if got, want := a.RoomsByInteraction(), map[string]int{"one": 2, "two": 1}; !maps.Equal(got, want) {
		t.Errorf("got rooms %v, want %v", got, want)
	}
	if got := a.Rooms("one"); got != 2 {
		t.Errorf("got %d rooms for one, want 2", got)
	}
	stats := a.Stats()
	if stats.RoomsMade != 3 || stats.Interactions != 2 || stats.Doubles != 1 || stats.RoomStatuses[200] != 3 {
		t.Errorf("got %+v, want 3 rooms, 2 interactions, 1 double, 3 answers 200", stats)
	}
}

func TestRoomURLsUseHost(t *testing.T) {
	a := serve(t, simulator.Config{})
	fields := mustDo(t, a.roomRequest(t, a.token(t), roomBody("one"))).fields(t)
	if got := fields["agentUrl"].(string); !strings.HasPrefix(got, a.url+"/agent/") {
		t.Errorf("got agentUrl %q, want it below %s/agent/", got, a.url)
	}
}

func TestRoomSchema(t *testing.T) {
	valid := roomBody("1")
	replace := func(old, by string) string { return strings.Replace(valid, old, by, 1) }
	for _, test := range []struct {
		name, body string
		status     int
		says       string
	}{
		{"valid", valid, 200, ""},
		{"valid with all fields", replace("{", `{"organizationId":"o","ticketExpirationSeconds":0,`), 200, ""},
		{"no applicationId", replace(`"applicationId":"app",`, ""), 400, "applicationId"},
		{"no cdestination", replace(`"cdestination":"standalone",`, ""), 400, "cdestination"},
		{"no customerId", replace(`"customerId":"customer",`, ""), 400, "customerId"},
		{"no interactionId", replace(`"interactionId":"1",`, ""), 400, "interactionId"},
		{"no urlBase", replace(`,"urlBase":"https://auvious.video"`, ""), 400, "urlBase"},
		{"urlBase without scheme", replace("https://", ""), 400, "urlBase"},
		{"urlBase without host", replace("auvious.video", ""), 400, "urlBase"},
		{"urlBase of another scheme", replace("https://", "ftp://"), 400, "urlBase"},
		{"other cdestination", replace("standalone", "queue"), 400, "cdestination"},
		{"unknown field", replace("{", `{"subject":"x",`), 400, "subject"},
		{"a number for a string", replace(`"customer"`, "1"), 400, "customerId"},
		{"null", replace(`"customer"`, "null"), 400, "customerId"},
		{"a string for an integer", replace("{", `{"ticketExpirationSeconds":"1",`), 400, "ticketExpirationSeconds"},
		{"a fraction", replace("{", `{"ticketExpirationSeconds":1.5,`), 400, "ticketExpirationSeconds"},
		{"an array", "[" + valid + "]", 400, "object"},
		{"two values", valid + valid, 400, "JSON"},
		{"not JSON", "room", 400, "JSON"},
		{"empty", "", 400, "JSON"},
		{"too large", replace("app", strings.Repeat("x", 64<<10)), 413, "large"},
		{"another application", replace("app\"", "other\""), 403, "application"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := serve(t, simulator.Config{ApplicationID: "app"})
			answer := mustDo(t, a.roomRequest(t, a.token(t), test.body))
			wantStatus(t, answer, test.status)
			rooms := 0
			if test.status == 200 {
				rooms = 1
			} else if got, _ := answer.fields(t)["error"].(string); !strings.Contains(got, test.says) {
				t.Errorf("got error %q, want it to say %q", got, test.says)
			}
			if got := a.Stats().RoomsMade; got != rooms {
				t.Errorf("got %d rooms, want %d", got, rooms)
			}
		})
	}
}

func TestRoomRequiresJSON(t *testing.T) {
	a := serve(t, simulator.Config{})
	r := a.roomRequest(t, a.token(t), roomBody("1"))
	r.Header.Set("Content-Type", "text/plain")
	wantStatus(t, mustDo(t, r), http.StatusUnsupportedMediaType)
}

func TestRequestsAreKept(t *testing.T) {
	a := serve(t, simulator.Config{KeepRequests: 2})
	token := a.token(t)
	for _, interactionID := range []string{"one", "two", "one"} {
		r := a.roomRequest(t, token, roomBody(interactionID))
		r.Header.Set("User-Agent", "roomlink/test")
		wantStatus(t, mustDo(t, r), http.StatusOK)
	}
	requests := a.Requests("one")
	if len(requests) != 1 {
		t.Fatalf("got %d requests for one, want 1, as only the first 2 are kept", len(requests))
	}
	got := requests[0]
	if string(got.Body) != roomBody("one") || got.InteractionID != "one" {
		t.Errorf("got %q with body %s, want what was sent", got.InteractionID, got.Body)
	}
	if got := got.Header.Get("User-Agent"); got != "roomlink/test" {
		t.Errorf("got User-Agent %q, want roomlink/test", got)
	}
	if got := got.Header.Get("Authorization"); got != "" {
		t.Error("got an Authorization header kept, want none")
	}
	if got := a.Rooms("one"); got != 2 {
		t.Errorf("got %d rooms for one, want 2", got)
	}
}

func TestTicketFetchesAreCounted(t *testing.T) {
	a := serve(t, simulator.Config{})
	ticketURL := mustDo(t, a.roomRequest(t, a.token(t), roomBody("1"))).fields(t)["ticketUrl"].(string)
	if got := a.Stats().TicketFetches; got != 0 {
		t.Fatalf("got %d ticket fetches, want 0", got)
	}
	for i, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodOptions} {
		wantStatus(t, mustDo(t, request(t, method, ticketURL, "", "")), http.StatusOK)
		if got := a.Stats().TicketFetches; got != i+1 {
			t.Errorf("got %d ticket fetches after %s, want %d", got, method, i+1)
		}
	}
}

func TestOtherPaths(t *testing.T) {
	a := serve(t, simulator.Config{})
	wantStatus(t, mustDo(t, request(t, http.MethodGet, a.url+"/agent/x", "", "")), http.StatusOK)
	for _, call := range [][2]string{
		{http.MethodGet, "/"},
		{http.MethodGet, "/security/oauth/token"},
		{http.MethodPut, "/security/facades/room"},
		{http.MethodPost, "/agent/x"},
		{http.MethodGet, "/agent/x/y"},
	} {
		answer := mustDo(t, request(t, call[0], a.url+call[1], "", ""))
		wantStatus(t, answer, http.StatusNotFound)
		if got := answer.fields(t)["error"]; got != "not found" {
			t.Errorf("%v: got error %v, want not found", call, got)
		}
	}
}

func TestCountsAreExactUnderConcurrency(t *testing.T) {
	a := serve(t, simulator.Config{KeepRequests: 100})
	token := a.token(t)
	const clients, interactions = 8, 25
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for i := range interactions {
				a.SetLatency(simulator.Constant(time.Microsecond))
				r := a.roomRequest(t, token, roomBody(strconv.Itoa(i)))
				if got, err := do(r); err != nil || got.status != http.StatusOK {
					t.Errorf("got %d, %v, want 200", got.status, err)
				}
				a.Requests("0")
			}
		})
	}
	wg.Wait()
	stats := a.Stats()
	if stats.RoomsMade != clients*interactions || stats.Interactions != interactions || stats.Doubles != interactions {
		t.Errorf("got %+v, want %d rooms of %d interactions, all doubles", stats, clients*interactions, interactions)
	}
	for interactionID, got := range a.RoomsByInteraction() {
		if got != clients {
			t.Errorf("got %d rooms for %s, want %d", got, interactionID, clients)
		}
	}
}

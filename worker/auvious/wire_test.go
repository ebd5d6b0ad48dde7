package auvious_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"

	"roomlink/internal/accounts"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/simulator"
	"roomlink/worker/auvious"
)

// sent is a request that the server received.
type sent struct {
	method, path string
	header       http.Header
	body         string
}

// record serves a facade. requests returns the requests that it received, in order.
func record(tb testing.TB) (url string, requests func() []sent) {
	tb.Helper()
	var mu sync.Mutex
	var got []sent
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			tb.Errorf("reading a request: %v", err)
		}
		mu.Lock()
		defer mu.Unlock()
		got = append(got, sent{r.Method, r.URL.RequestURI(), r.Header.Clone(), string(body)})
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/security/oauth/token" {
			_, _ = io.WriteString(w, `{"access_token":"hush-token","token_type":"bearer","expires_in":3600}`)
			return
		}
		_, _ = io.WriteString(w, goodRoom)
	}))
	tb.Cleanup(server.Close)
	return server.URL, func() []sent {
		mu.Lock()
		defer mu.Unlock()
		return got
	}
}

func TestRoomRequestOnTheWire(t *testing.T) {
	t.Parallel()
	hour, zero := int64(3600), int64(0)
	whole := auvious.RoomRequest{
		ApplicationID:           "app-1",
		Destination:             "standalone",
		CustomerID:              "contact-42",
		InteractionID:           "call <1> & \"two\"",
		OrganizationID:          "org-1",
		TicketExpirationSeconds: &hour,
		URLBase:                 "https://auvious.video",
	}
	minimal := auvious.RoomRequest{
		ApplicationID: "app-1", Destination: "standalone", CustomerID: "contact-42", InteractionID: "call-1",
	}
	zeroed := minimal
	zeroed.TicketExpirationSeconds = &zero
	for _, test := range []struct {
		name    string
		request auvious.RoomRequest
		want    string
	}{
		{"whole", whole, `{"applicationId":"app-1","cdestination":"standalone","customerId":"contact-42",` +
			`"interactionId":"call <1> & \"two\"","organizationId":"org-1",` +
			`"ticketExpirationSeconds":3600,"urlBase":"https://auvious.video"}`},
		{"absent fields", minimal, `{"applicationId":"app-1","cdestination":"standalone",` +
			`"customerId":"contact-42","interactionId":"call-1"}`},
		{"an explicit 0", zeroed, `{"applicationId":"app-1","cdestination":"standalone",` +
			`"customerId":"contact-42","interactionId":"call-1","ticketExpirationSeconds":0}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			base, requests := record(t)
			client := newClient(t, accounts.Rooms{URL: base + "/"})
			if _, err := client.CreateRoom(t.Context(), test.request); err != nil {
				t.Fatalf("creating a room: %v", err)
			}
			got := requests()
			if len(got) != 2 {
				t.Fatalf("requests: got %d, want a token call and a room call", len(got))
			}
			room := got[1]
			if room.method != "POST" || room.path != "/security/facades/room" {
				t.Errorf("room call: got %s %s, want POST /security/facades/room", room.method, room.path)
			}
			wantHeader(t, room.header, map[string]string{
				"Authorization": "Bearer hush-token",
				"Content-Type":  "application/json",
				"Accept":        "application/json",
				"User-Agent":    "roomlink/1",
			})
			if room.body != test.want {
				t.Errorf("body: got %s, want %s", room.body, test.want)
			}
		})
	}
}

func TestTokenRequestOnTheWire(t *testing.T) {
	t.Parallel()
	base, requests := record(t)
	mustCreate(t, newClient(t, accounts.Rooms{URL: base}), "call-1")
	token := requests()[0]
	if token.method != "POST" || token.path != "/security/oauth/token" {
		t.Errorf("token call: got %s %s, want POST /security/oauth/token", token.method, token.path)
	}
	wantHeader(t, token.header, map[string]string{
		"Authorization": "", // the credentials are in the body
		"Content-Type":  "application/x-www-form-urlencoded",
	})
	want := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {clientID}, "client_secret": {clientSecret},
	}.Encode()
	if token.body != want {
		t.Errorf("body: got %s, want %s", token.body, want)
	}
}

// TestBaseWithPath: the client appends its paths to the path of the base.
func TestBaseWithPath(t *testing.T) {
	t.Parallel()
	base, requests := record(t)
	client := newClient(t, accounts.Rooms{URL: base + "/eu/"})
	// The recorder answers this path with a room instead of a token.
	_, err := client.CreateRoom(t.Context(), roomRequest("call-1"))
	wantKind(t, callError(t, err), auvious.ErrAccount, 200)
	if got := requests()[0].path; got != "/eu/security/oauth/token" {
		t.Errorf("path: got %s, want /eu/security/oauth/token", got)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		url   string
		allow []string
		good  bool
	}{
		{url: ""},
		{url: "https://auvious.video", good: true},
		{url: "https://auvious.video/", good: true},
		{url: "http://localhost:8081", good: true},
		{url: "http://[::1]:8081", good: true},
		{url: "http://auvious.test", allow: []string{"auvious.test"}, good: true},
		{url: "http://auvious.test:8081", allow: []string{"auvious.test"}, good: true},
		{url: "http://auvious.video"},
		{url: "http://127.0.0.1.example"},
		{url: "auvious.video"},
		{url: "/security"},
		{url: "https://"},
		{url: "ftp://auvious.video"},
		{url: "https://user:hush@auvious.video"},
		{url: "https://auvious.video\n"},
		{url: "https://auvious.video?a=b"},
		{url: "https://auvious.video/#a"},
	} {
		client, err := auvious.New(accounts.Rooms{URL: test.url, AllowHTTPHosts: test.allow})
		if good := err == nil; good != test.good {
			t.Errorf("New with URL %q: got error %v, want good: %v", test.url, err, test.good)
		}
		if client != nil {
			client.Close()
		}
	}
}

func TestNewHidesThePassword(t *testing.T) {
	t.Parallel()
	_, err := auvious.New(accounts.Rooms{URL: "https://user:hush@auvious.video"})
	if err == nil {
		t.Fatal("New with a user in the URL: got no error, want one")
	}
	wantNoSecret(t, err)
}

// TestCreateRoomCancelledBefore: CreateRoom returns the error of a context that ended before the call was sent.
func TestCreateRoomCancelledBefore(t *testing.T) {
	t.Parallel()
	f := serve(t, simulator.Config{})
	client := f.client(t)
	mustCreate(t, client, "call-1") // fetches the token

	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	late, stop := context.WithTimeout(t.Context(), -1)
	defer stop()
	for _, test := range []struct {
		ctx  context.Context
		want error
	}{
		{cancelled, context.Canceled},
		{late, context.DeadlineExceeded},
	} {
		_, err := client.CreateRoom(test.ctx, roomRequest("call-2"))
		if !errors.Is(err, test.want) {
			t.Errorf("creating a room: got error %v, want %v", err, test.want)
		}
		if failed, ok := errors.AsType[*auvious.CallError](err); ok {
			t.Errorf("creating a room: got a *CallError %v, want the context's own error", failed)
		}
	}
	f.wantCalls(t, 1, 1)
}

// TestCreateRoomWithoutToken: a caller that gives up during the fetch of the token has sent no call.
func TestCreateRoomWithoutToken(t *testing.T) {
	t.Parallel()
	f := serve(t, simulator.Config{})
	asked, answer := make(chan struct{}), make(chan struct{})
	f.ScriptTokens(func(int) *simulator.Answer {
		close(asked)
		return &simulator.Answer{Wait: answer}
	})
	client := f.client(t)
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, err := client.CreateRoom(ctx, roomRequest("call-1"))
		failed <- err
	}()
	roomlinktest.Receive(t, asked, "the token call")
	cancel()
	if err := roomlinktest.Receive(t, failed, "the end of the call"); !errors.Is(err, context.Canceled) {
		t.Errorf("creating a room: got error %v, want %v", err, context.Canceled)
	}

	// The fetch goes on and serves the next caller.
	close(answer)
	mustCreate(t, client, "call-2")
	f.wantCalls(t, 1, 1)
}

// TestRoomRequestSchema: the simulator checks the request against the schema of the facade.
func TestRoomRequestSchema(t *testing.T) {
	t.Parallel()
	f := serve(t, simulator.Config{})
	seconds := int64(14400)
	request := roomRequest("call-1")
	request.OrganizationID, request.TicketExpirationSeconds = "org-1", &seconds
	if _, err := f.client(t).CreateRoom(t.Context(), request); err != nil {
		t.Fatalf("creating a room: got error %v, want none: the simulator checks the schema", err)
	}
	var got auvious.RoomRequest
	if err := json.Unmarshal(f.Requests("call-1")[0].Body, &got); err != nil {
		t.Fatalf("decoding the request: %v", err)
	}
	if *got.TicketExpirationSeconds != seconds || got.OrganizationID != "org-1" {
		t.Errorf("request: got %+v, want %+v", got, request)
	}
}

// wantHeader compares fields of a header; "" means absent.
func wantHeader(tb testing.TB, header http.Header, want map[string]string) {
	tb.Helper()
	for name, value := range want {
		if got := header.Get(name); got != value {
			tb.Errorf("header %s: got %q, want %q", name, got, value)
		}
	}
}

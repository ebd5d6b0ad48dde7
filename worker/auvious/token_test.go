package auvious_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"roomlink/internal/roomlinktest"
	"roomlink/internal/simulator"
	"roomlink/worker/auvious"
)

func TestRefusedToken(t *testing.T) {
	t.Parallel()
	t.Run("once", func(t *testing.T) {
		t.Parallel()
		f := serve(t, simulator.Config{})
		client := f.client(t)
		mustCreate(t, client, "call-1")
		f.RevokeTokens()
		mustCreate(t, client, "call-2")
		f.wantCalls(t, 2, 3)
		if got := f.Rooms("call-2"); got != 1 {
			t.Errorf("rooms of the repeated call: got %d, want 1", got)
		}
	})
	t.Run("twice", func(t *testing.T) {
		t.Parallel()
		f := serve(t, simulator.Config{})
		f.answer(simulator.Answer{Status: 401, Body: `{"error":"hush"}`})
		client := f.client(t)
		wantKind(t, mustFail(t, client, "call-1"), auvious.ErrAccount, 401)
		f.wantCalls(t, 2, 2)
		if got := client.TokenAge(); got != 0 {
			t.Errorf("age after the refusal: got %v, want 0", got)
		}
	})
	t.Run("and no new one issued", func(t *testing.T) {
		t.Parallel()
		f := serve(t, simulator.Config{})
		client := f.client(t)
		mustCreate(t, client, "call-1")
		f.SetCredentials(clientID, "another hush")
		failed := mustFail(t, client, "call-2")
		wantKind(t, failed, auvious.ErrAccount, 401)
		wantDetail(t, failed, "invalid_client")
		f.wantCalls(t, 2, 2)
	})
}

// TestRefusalOfAnOldToken: a late refusal of the old token does not drop the new one.
func TestRefusalOfAnOldToken(t *testing.T) {
	t.Parallel()
	f := serve(t, simulator.Config{})
	asked, answer := make(chan struct{}), make(chan struct{})
	f.Script(func(call simulator.Call) *simulator.Answer {
		switch {
		case call.Number > 1:
			return nil
		case call.InteractionID == "late":
			close(asked)
			return &simulator.Answer{Wait: answer, Status: 401}
		case call.InteractionID == "early":
			return &simulator.Answer{Status: 401}
		}
		return nil
	})
	client := f.client(t)
	ended := make(chan error, 1)
	go func() {
		_, err := client.CreateRoom(t.Context(), roomRequest("late"))
		ended <- err
	}()
	roomlinktest.Receive(t, asked, "the late call")
	mustCreate(t, client, "early") // fetches the second token
	close(answer)
	if err := roomlinktest.Receive(t, ended, "the end of the late call"); err != nil {
		t.Errorf("the late call: got error %v, want none", err)
	}
	mustCreate(t, client, "next")
	f.wantCalls(t, 2, 5)
}

// TestOneFetch: concurrent callers share one fetch.
func TestOneFetch(t *testing.T) {
	t.Parallel()
	for name, lifetime := range map[string]time.Duration{"an hour": time.Hour, "no end": -1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := serve(t, simulator.Config{TokenLifetime: lifetime})
			asked, answer := make(chan struct{}), make(chan struct{})
			f.ScriptTokens(func(number int) *simulator.Answer {
				if number == 1 {
					close(asked)
				}
				return &simulator.Answer{Wait: answer}
			})
			client := f.client(t)
			var calls sync.WaitGroup
			for range 100 {
				calls.Go(func() {
					if _, err := client.CreateRoom(t.Context(), roomRequest("call-1")); err != nil {
						t.Errorf("creating a room: %v", err)
					}
				})
			}
			roomlinktest.Receive(t, asked, "the token call")
			close(answer)
			calls.Wait()
			f.wantCalls(t, 1, 100)
		})
	}
}

// TestFailingTokenEndpoint: shortly after a failed fetch, callers get its error without another fetch.
func TestFailingTokenEndpoint(t *testing.T) {
	t.Parallel()
	f := serve(t, simulator.Config{Faults: simulator.Faults{TokenStatus: 503, RetryAfter: "7"}})
	client := f.client(t)
	began := time.Now()
	const callers = 100
	ended := make(chan error, callers)
	for range callers {
		go func() {
			_, err := client.CreateRoom(t.Context(), roomRequest("call-1"))
			ended <- err
		}()
	}
	for range callers {
		failed := callError(t, roomlinktest.Receive(t, ended, "the end of a call"))
		wantKind(t, failed, auvious.ErrAccount, 503)
		if failed.RetryAfter != 7*time.Second {
			t.Errorf("RetryAfter: got %v, want 7s", failed.RetryAfter)
		}
	}
	// One fetch, and one more for each second of a slow machine.
	if got, limit := f.Stats().TokenCalls, 1+int(time.Since(began)/time.Second); got > limit {
		t.Errorf("token calls: got %d, want at most %d", got, limit)
	}
	if got := f.Stats().RoomCalls; got != 0 {
		t.Errorf("room calls without a token: got %d, want 0", got)
	}
}

// TestTokenErrors: every failure of the token endpoint is of the kind ErrAccount. The error quotes only codes of
// RFC 6749.
func TestTokenErrors(t *testing.T) {
	t.Parallel()
	json := func(status int, body string) simulator.Answer { return simulator.Answer{Status: status, Body: body} }
	for _, test := range []struct {
		name   string
		answer simulator.Answer
		status int
		detail string
	}{
		{"invalid client", json(401, `{"error":"invalid_client","error_description":"hush"}`), 401, "invalid_client"},
		{"invalid request", json(400, `{"error":"invalid_request"}`), 400, "invalid_request"},
		{"unknown code", json(400, `{"error":"hush"}`), 400, "returned no token"},
		{"500", json(500, `hush`), 500, "returned no token"},
		{"429", json(429, ``), 429, "returned no token"},
		{"error with 200", json(200, `{"error":"invalid_client"}`), 200, "invalid_client"},
		{"no token in the answer", json(200, `{"token_type":"bearer"}`), 0, "the token could not be fetched"},
		{"not JSON", json(200, `<p>hush</p>`), 0, "the token could not be fetched"},
		{"empty", json(200, ``), 0, "the token could not be fetched"},
		{"a page", simulator.Answer{Status: 200, Body: "hush", Header: header("Content-Type", "text/html")}, 0, "could not be fetched"},
		{"closed", simulator.Answer{Close: simulator.CloseAfterReading}, 0, "connection lost"},
		{"reset", simulator.Answer{Close: simulator.CloseBeforeReading}, 0, "connection lost"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := serve(t, simulator.Config{})
			f.ScriptTokens(func(int) *simulator.Answer { return &test.answer })
			failed := mustFail(t, f.client(t), "call-1")
			wantKind(t, failed, auvious.ErrAccount, test.status)
			wantDetail(t, failed, test.detail)
			f.wantCalls(t, 1, 0)
		})
	}
}

// TestTokenAge: the age is 0 without a token and grows with a token.
func TestTokenAge(t *testing.T) {
	t.Parallel()
	f := serve(t, simulator.Config{})
	client := f.client(t)
	if got := client.TokenAge(); got != 0 {
		t.Errorf("age before the first call: got %v, want 0", got)
	}
	began := time.Now()
	mustCreate(t, client, "call-1")
	if got, limit := client.TokenAge(), time.Since(began); got <= 0 || got > limit {
		t.Errorf("age after the first call: got %v, want more than 0 and at most %v", got, limit)
	}
}

// TestCloseWaits: Close ends a running fetch. A second Close changes nothing.
func TestCloseWaits(t *testing.T) {
	t.Parallel()
	f := serve(t, simulator.Config{})
	asked, answer := make(chan struct{}), make(chan struct{})
	defer close(answer)
	f.ScriptTokens(func(int) *simulator.Answer {
		close(asked)
		return &simulator.Answer{Wait: answer}
	})
	client := f.client(t)
	ended := make(chan error, 1)
	go func() {
		_, err := client.CreateRoom(t.Context(), roomRequest("call-1"))
		ended <- err
	}()
	roomlinktest.Receive(t, asked, "the token call")
	client.Close()
	client.Close()
	failed := callError(t, roomlinktest.Receive(t, ended, "the end of the call"))
	wantKind(t, failed, auvious.ErrAccount, 0)
	if strings.Contains(failed.Detail, f.url) {
		t.Errorf("detail: got the address in %q, want none", failed.Detail)
	}
}

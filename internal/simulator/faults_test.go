package simulator_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"roomlink/internal/simulator"
)

func TestFaultStatuses(t *testing.T) {
	for _, test := range []struct {
		name   string
		faults simulator.Faults
		status int
	}{
		{"rate", simulator.Faults{Rate: 1}, 503},
		{"rate with a status", simulator.Faults{Rate: 1, Status: 429}, 429},
		{"room status", simulator.Faults{RoomStatus: 502, Drop: 1}, 502},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := serve(t, simulator.Config{})
			token := a.token(t)
			test.faults.RetryAfter = "7"
			if err := a.SetFaults(test.faults); err != nil {
				t.Fatal(err)
			}
			answer := mustDo(t, a.roomRequest(t, token, roomBody("1")))
			wantStatus(t, answer, test.status)
			if got := answer.header.Get("Retry-After"); got != "7" {
				t.Errorf("got Retry-After %q, want 7", got)
			}
			if got := a.Stats().RoomsMade; got != 0 {
				t.Errorf("got %d rooms, want 0", got)
			}
		})
	}
}

func TestFaultTokenStatus(t *testing.T) {
	a := serve(t, simulator.Config{Faults: simulator.Faults{TokenStatus: 500}})
	wantStatus(t, mustDo(t, request(t, http.MethodPost, a.url+"/security/oauth/token", formType,
		form("simulator", "simulator-secret"))), 500)
	if err := a.SetFaults(simulator.Faults{}); err != nil {
		t.Fatal(err)
	}
	a.token(t)
}

func TestFaultDropMakesRoom(t *testing.T) {
	a := serve(t, simulator.Config{Faults: simulator.Faults{Drop: 1}})
	if _, err := do(a.roomRequest(t, a.token(t), roomBody("1"))); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want EOF", err)
	}
	if stats := a.Stats(); stats.RoomsMade != 1 || stats.RoomStatuses[0] != 1 {
		t.Errorf("got %+v, want 1 room and 1 call without an answer", stats)
	}
}

func TestFaultHangEndsWithClient(t *testing.T) {
	for _, test := range []struct {
		name    string
		hang    float64
		latency time.Duration
	}{
		{"hang", 1, 0},
		{"latency", 0, time.Hour},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := serve(t, simulator.Config{Faults: simulator.Faults{Hang: test.hang}})
			token := a.token(t)
			a.SetLatency(simulator.Constant(test.latency))
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			if _, err := do(a.roomRequest(t, token, roomBody("1")).WithContext(ctx)); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, want the deadline", err)
			}
			if got := a.Rooms("1"); got != 1 {
				t.Errorf("got %d rooms, want 1", got)
			}
		})
	}
}

func TestFaultRate(t *testing.T) {
	s, err := simulator.New(simulator.Config{Faults: simulator.Faults{Rate: 0.5}})
	if err != nil {
		t.Fatal(err)
	}
	const calls = 2000
	for range calls {
		s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/security/facades/room", nil))
	}
	if got := s.Stats().RoomStatuses[503]; math.Abs(float64(got)-calls/2) > 6*math.Sqrt(calls/4) {
		t.Errorf("got %d of %d calls refused, want about half", got, calls)
	}
}

func TestNewRefuses(t *testing.T) {
	for name, config := range map[string]simulator.Config{
		"rate above 1":     {Faults: simulator.Faults{Rate: 1.1}},
		"negative rate":    {Faults: simulator.Faults{Drop: -0.1}},
		"not a number":     {Faults: simulator.Faults{Hang: math.NaN()}},
		"sum above 1":      {Faults: simulator.Faults{Rate: 0.5, Drop: 0.5, Hang: 0.1}},
		"status":           {Faults: simulator.Faults{Status: 99}},
		"room status":      {Faults: simulator.Faults{RoomStatus: 600}},
		"two lines":        {Faults: simulator.Faults{RetryAfter: "1\r\nX: y"}},
		"relative URL":     {BaseURL: "auvious.video"},
		"URL without host": {BaseURL: "http://"},
	} {
		_, err := simulator.New(config)
		if err == nil {
			t.Errorf("%s: got no error, want one", name)
		}
		if config.BaseURL == "" && !errors.Is(err, simulator.ErrFaults) {
			t.Errorf("%s: got %v, want ErrFaults", name, err)
		}
	}
}

func TestLatencyDelaysAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := simulator.New(simulator.Config{Latency: simulator.Constant(50 * time.Millisecond)})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/security/facades/room", nil))
		if got := time.Since(start); got != 50*time.Millisecond {
			t.Errorf("got an answer after %v, want 50ms", got)
		}
	})
}

func TestScript(t *testing.T) {
	a := serve(t, simulator.Config{})
	token := a.token(t)
	answers := []*simulator.Answer{
		{Status: 429, Header: http.Header{"Retry-After": {"3"}, "content-type": {"text/plain"}}, Body: "slow down"},
		{Room: true, Status: 500, Body: `{"error":"after the room"}`},
		{Room: true, Close: simulator.CloseAfterReading},
		{Room: true, Close: simulator.CloseBeforeReading},
		{Room: true, Status: 200, Header: http.Header{"Content-Length": {"1000"}}, Body: `{"agentUrl":`},
		nil,
	}
	a.Script(func(call simulator.Call) *simulator.Answer {
		if call.InteractionID != "one" {
			return nil
		}
		return answers[call.Number-1]
	})
	wants := []struct {
		status int
		body   string
		err    error
		rooms  int
	}{
		{429, "slow down", nil, 0},
		{500, `{"error":"after the room"}`, nil, 1},
		{0, "", io.EOF, 2},
		{0, "", syscall.ECONNRESET, 2},
		{200, `{"agentUrl":`, io.ErrUnexpectedEOF, 3},
		{200, "", nil, 4},
	}
	for i, want := range wants {
		wantStatus(t, mustDo(t, a.roomRequest(t, token, roomBody("two"))), http.StatusOK)
		got, err := do(a.roomRequest(t, token, roomBody("one")))
		if !errors.Is(err, want.err) || got.status != want.status {
			t.Errorf("call %d: got %d, %v, want %d, %v", i+1, got.status, err, want.status, want.err)
		}
		if want.body != "" && got.body != want.body {
			t.Errorf("call %d: got body %q, want %q", i+1, got.body, want.body)
		}
		if got := a.Rooms("one"); got != want.rooms {
			t.Errorf("call %d: got %d rooms, want %d", i+1, got, want.rooms)
		}
		if i == 0 && (got.header.Get("Retry-After") != "3" || got.header.Get("Content-Type") != "text/plain") {
			t.Errorf("call 1: got header %v, want the script's", got.header)
		}
	}
	a.Script(nil)
	wantStatus(t, mustDo(t, a.roomRequest(t, token, roomBody("one"))), http.StatusOK)
}

func TestScriptWait(t *testing.T) {
	a := serve(t, simulator.Config{})
	token := a.token(t)
	arrived, release := make(chan struct{}), make(chan struct{})
	a.Script(func(simulator.Call) *simulator.Answer {
		close(arrived)
		return &simulator.Answer{Wait: release}
	})
	var wg sync.WaitGroup
	var got response
	var err error
	r := a.roomRequest(t, token, roomBody("one"))
	wg.Go(func() { got, err = do(r) })
	<-arrived
	if rooms := a.Rooms("one"); rooms != 0 {
		t.Errorf("got %d rooms while the call waits, want 0", rooms)
	}
	close(release)
	wg.Wait()
	if err != nil {
		t.Fatal(err)
	}
	wantStatus(t, got, http.StatusOK)
}

func TestScriptTokens(t *testing.T) {
	a := serve(t, simulator.Config{})
	a.ScriptTokens(func(number int) *simulator.Answer {
		if number == 1 {
			return &simulator.Answer{Status: 200, Body: `{"token_type":"Bearer"}`}
		}
		return nil
	})
	first := mustDo(t, request(t, http.MethodPost, a.url+"/security/oauth/token", formType, ""))
	if want := `{"token_type":"Bearer"}`; first.body != want {
		t.Errorf("got body %q, want %q", first.body, want)
	}
	a.token(t)
}

func TestControl(t *testing.T) {
	a := serve(t, simulator.Config{})
	token := a.token(t)
	for range 2 {
		mustDo(t, a.roomRequest(t, token, roomBody("a/b")))
	}
	var stats simulator.Stats
	answer := mustDo(t, request(t, http.MethodGet, a.url+"/simulator/stats", "", ""))
	if err := json.Unmarshal([]byte(answer.body), &stats); err != nil {
		t.Fatal(err)
	}
	if stats.RoomsMade != 2 || stats.Doubles != 1 || stats.Interactions != 1 || stats.RoomStatuses[200] != 2 {
		t.Errorf("got %s, want 2 rooms for 1 interaction and 1 double", answer.body)
	}
	rooms := mustDo(t, request(t, http.MethodGet, a.url+"/simulator/rooms/a%2Fb", "", ""))
	if want := `{"interactionId":"a/b","rooms":2}`; rooms.body != want {
		t.Errorf("got %s, want %s", rooms.body, want)
	}
}

func TestControlFaults(t *testing.T) {
	a := serve(t, simulator.Config{})
	put := func(body string) response {
		return mustDo(t, request(t, http.MethodPut, a.url+"/simulator/faults", "application/json", body))
	}
	wantStatus(t, put(`{"latency":"uniform:1ms,2ms"}`), http.StatusOK)
	answer := put(`{"roomStatus":429,"retryAfter":"9"}`)
	wantStatus(t, answer, http.StatusOK)
	for _, want := range []string{`"latency":"uniform:1ms,2ms"`, `"roomStatus":429`} {
		if !strings.Contains(answer.body, want) {
			t.Errorf("got %s, want it to contain %s", answer.body, want)
		}
	}
	wantStatus(t, mustDo(t, a.roomRequest(t, "", roomBody("1"))), 429)
	for _, body := range []string{"", "{}{}", `{"rates":1}`, `{"rate":2}`, `{"latency":"soon"}`} {
		wantStatus(t, put(body), http.StatusBadRequest)
	}
	wantStatus(t, mustDo(t, a.roomRequest(t, "", roomBody("1"))), 429)
}

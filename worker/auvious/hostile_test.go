package auvious_test

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"roomlink/internal/accounts"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/simulator"
	"roomlink/worker/auvious"
)

// TestRefusedStorm: auvious refuses the token of many callers at different times. They fetch few new tokens.
func TestRefusedStorm(t *testing.T) {
	t.Parallel()
	const callers, maxTokens = 64, 3
	for _, test := range []struct {
		name  string
		spoil func(facade)
		want  error
	}{
		{"only the first token is refused", func(f facade) { f.RevokeTokens() }, nil},
		{"every token is refused", func(f facade) {
			f.Script(func(simulator.Call) *simulator.Answer {
				return &simulator.Answer{Status: http.StatusUnauthorized, Wait: after(rand.N(200 * time.Millisecond))}
			})
		}, auvious.ErrAccount},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := serve(t, simulator.Config{})
			client := f.client(t)
			mustCreate(t, client, "call-0")
			test.spoil(f)
			var calling sync.WaitGroup
			for range callers {
				calling.Go(func() {
					if _, err := client.CreateRoom(t.Context(), roomRequest("call-1")); !errors.Is(err, test.want) {
						t.Errorf("creating a room: got error %v, want %v", err, test.want)
					}
				})
			}
			calling.Wait()
			if got := f.Stats().TokenCalls; got > maxTokens {
				t.Errorf("token calls by %d callers: got %d, want at most %d", callers, got, maxTokens)
			}
		})
	}
}

// after returns a channel that is closed after d.
func after(d time.Duration) <-chan struct{} {
	done := make(chan struct{})
	time.AfterFunc(d, func() { close(done) })
	return done
}

// TestEndlessAnswers: the client stops reading an answer at the maximum length. The test runs alone, because it
// measures allocations.
func TestEndlessAnswers(t *testing.T) { //nolint:paralleltest // see above
	const megabyte = 1 << 20
	block := []byte(strings.Repeat("a", megabyte))
	for _, test := range []struct {
		name, path string
		status     int
		want       auvious.Kind
	}{
		{"room", "/security/facades/room", 200, auvious.ErrBadAnswer},
		{"refusal", "/security/facades/room", 422, auvious.ErrNotDone},
		{"failure", "/security/facades/room", 503, auvious.ErrNotDone},
		{"token", "/security/oauth/token", 200, auvious.ErrAccount},
		{"token refused", "/security/oauth/token", 401, auvious.ErrAccount},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := serve(t, simulator.Config{})
			ended := make(chan int, 1)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != test.path {
					f.ServeHTTP(w, r)
					return
				}
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(test.status)
				sent := 0
				for sent < 100 {
					if _, err := w.Write(block); err != nil {
						break
					}
					sent++
				}
				ended <- sent
			}))
			t.Cleanup(server.Close)
			client := newClient(t, accounts.Rooms{URL: server.URL})
			before := allocated()
			failed := mustFail(t, client, "call-1")
			grown := allocated() - before
			wantKind(t, failed, test.want, test.status)
			if sent := roomlinktest.Receive(t, ended, "the end of the answer"); sent == 100 {
				t.Error("the answer: got all 100 MiB read, want less")
			}
			if grown > 8*megabyte {
				t.Errorf("allocated for the answer: got %d KiB, want at most 8 MiB", grown>>10)
			}
		})
	}
}

// allocated returns the bytes that were ever allocated.
func allocated() uint64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.TotalAlloc
}

package auvious_test

import (
	"cmp"
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

// TestRefusedStorm has many callers whose token is refused, and the next one too,
// each after a while of its own. The token endpoint is left in peace.
func TestRefusedStorm(t *testing.T) {
	t.Parallel()
	const callers, most = 64, 3
	for _, test := range []struct {
		name  string
		spoil func(facade)
		want  error
	}{
		{"that ends with the next token", func(f facade) { f.RevokeTokens() }, nil},
		{"that does not end", func(f facade) {
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
			if got := f.Stats().TokenCalls; got > most {
				t.Errorf("token calls by %d callers: got %d, want at most %d", callers, got, most)
			}
		})
	}
}

// after is closed after a while.
func after(d time.Duration) <-chan struct{} {
	done := make(chan struct{})
	time.AfterFunc(d, func() { close(done) })
	return done
}

// TestEndlessAnswers are read no further than an answer may be long. It runs
// alone, as it measures what is allocated.
func TestEndlessAnswers(t *testing.T) { //nolint:paralleltest // see above
	const megabyte = 1 << 20
	block := []byte(strings.Repeat("a", megabyte))
	for _, test := range []struct {
		name, path string
		status     int
		want       error
	}{
		{"room", "/security/facades/room", 200, auvious.ErrBadAnswer},
		{"refusal", "/security/facades/room", 422, auvious.ErrRejected},
		{"failure", "/security/facades/room", 503, auvious.ErrNotDone},
		{"token", "/security/oauth/token", 0, auvious.ErrAccount}, // which says 200, and is none
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
				w.WriteHeader(cmp.Or(test.status, http.StatusOK))
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
				t.Error("the answer: got all of its 100 MiB read, want it cut off")
			}
			if grown > 8*megabyte {
				t.Errorf("allocated for the answer: got %d KiB, want at most 8 MiB", grown>>10)
			}
		})
	}
}

// allocated is all that was allocated so far, in bytes.
func allocated() uint64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.TotalAlloc
}

package worker

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"roomlink/internal/store"
)

// heartbeat is how often a held event is kept alive: thrice in the time after
// which the broker would deliver it again.
const heartbeat = store.AckWait / 3

// hearts keeps all events alive that are held, with one ticker.
type hearts struct {
	mu   sync.Mutex
	held map[jetstream.Msg]struct{}
}

func newHearts() *hearts { return &hearts{held: map[jetstream.Msg]struct{}{}} }

// hold keeps an event alive until the function is called that it returns.
func (h *hearts) hold(msg jetstream.Msg) (release func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held[msg] = struct{}{}
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.held, msg)
	}
}

func (h *hearts) run(ctx context.Context) {
	ticker := time.NewTicker(heartbeat)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			h.beat()
		}
	}
}

func (h *hearts) beat() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for msg := range h.held {
		// Settled in this moment, or the broker is out of reach: then the event
		// is delivered again, which is what the look-up of links is for.
		_ = msg.InProgress()
	}
}

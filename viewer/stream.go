package viewer

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"roomlink/internal/access"
	"roomlink/internal/store"
	"roomlink/internal/web"
)

const (
	// writeWithin bounds one write to a browser. A slower one is dropped, and
	// comes again by itself.
	writeWithin = 5 * time.Second
	// tellAgain is how often a stream tells what it told before: proxies leave it
	// open, and a browser knows that it is not dead.
	tellAgain = 15 * time.Second
	// spread is by how much the times of streams differ that began at once, as
	// after a restart.
	spread = 3 * time.Second
)

// view is what a stream shows of a state.
type view struct {
	// version names what there is to show.
	version func(store.State) string
	// data is what is told of it.
	data func(context.Context, store.State) any
}

// stream answers with the state whenever it changes, as server-sent events (WHATWG
// HTML, section 9.2), until the browser is gone or too slow, the token ends or the
// server stops.
func (v *Viewer) stream(w http.ResponseWriter, r *http.Request, claims access.Claims, shown view) {
	ctx, stop := web.UntilStopping(r)
	defer stop()
	ctx, cancel := context.WithDeadline(ctx, claims.Expires)
	defer cancel()
	header := w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Accel-Buffering", "no")
	header.Set("X-Robots-Tag", "noindex, nofollow")
	events := newEvents(ctx, w, shown)
	for ctx.Err() == nil && !events.ended {
		waiting := events.waiting
		err := v.config.Feed.Follow(ctx, conversationOf(claims), events.pace(), func(state store.State) bool {
			events.tell(state)
			return events.ended || events.waiting != waiting
		})
		if err != nil && ctx.Err() == nil {
			v.log.Warn().Err(err).Msg("event stream ended") // the browser comes again
			return
		}
	}
}

// events are those of one browser.
type events struct {
	ctx     context.Context //nolint:containedctx // that of the one request whose answer this is
	writer  http.ResponseWriter
	control *http.ResponseController
	shown   view

	last    string
	written time.Time
	// waiting says that the state may change without any news of it: only a read
	// tells that an event was accepted.
	waiting bool
	ended   bool
}

func newEvents(ctx context.Context, w http.ResponseWriter, shown view) *events {
	e := &events{ctx: ctx, writer: w, control: http.NewResponseController(w), shown: shown}
	_ = e.control.SetReadDeadline(time.Time{}) // the stream outlives the limit on a body
	return e
}

// pace is how often the state is to be read anew.
func (e *events) pace() time.Duration {
	if e.waiting {
		return refresh
	}
	return tellAgain - rand.N(spread)
}

// tell writes a state, unless it was written only just now.
func (e *events) tell(state store.State) {
	e.waiting = !state.Done()
	version := e.shown.version(state)
	if version == e.last && time.Since(e.written) < tellAgain-spread {
		return
	}
	text := ""
	if e.written.IsZero() {
		// Browsers that lost a server come back one after another.
		text = fmt.Sprintf("retry: %d\n\n", (time.Second + rand.N(2*time.Second)).Milliseconds())
	}
	data, err := json.Marshal(e.shown.data(e.ctx, state))
	if err != nil {
		e.ended = true
		return
	}
	text += fmt.Sprintf("event: state\ndata: %s\n\n", data)
	e.last, e.written = version, time.Now()
	_ = e.control.SetWriteDeadline(e.written.Add(writeWithin))
	if _, err := e.writer.Write([]byte(text)); err != nil {
		e.ended = true
		return
	}
	e.ended = e.control.Flush() != nil
}

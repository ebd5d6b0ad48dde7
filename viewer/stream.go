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
	// writeTimeout bounds a write to a browser. The viewer drops a slower browser, which then connects again.
	writeTimeout = 5 * time.Second
	// repeatInterval is the interval in which a stream repeats its state. Proxies then keep the stream open,
	// and a browser knows that it is alive.
	repeatInterval = 15 * time.Second
	// jitter spreads streams that began at the same time, as after a restart.
	jitter = 3 * time.Second
)

// view selects what a stream sends of a state.
type view struct {
	// version changes with the data.
	version func(store.State) string
	data    func(context.Context, store.State) any
}

// stream answers with the state whenever it changes, as server-sent events (WHATWG HTML, section 9.2). It
// ends if the browser is gone or too slow, if the token expires, or if the server stops.
func (v *Viewer) stream(
	w http.ResponseWriter, r *http.Request, shown func(access.Claims) view, purposes ...access.Purpose,
) {
	claims, err := v.claims(r, purposes...)
	if err != nil {
		fail(w, err)
		return
	}
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
	events := eventWriter{ctx: ctx, writer: w, control: http.NewResponseController(w), shown: shown(claims)}
	_ = events.control.SetReadDeadline(time.Time{}) // the stream outlives the deadline of a body
	for ctx.Err() == nil && !events.ended {
		waiting := events.waiting
		err := v.config.Feed.Follow(ctx, conversationOf(claims), events.refreshInterval(), func(state store.State) bool {
			events.send(state)
			return events.ended || events.waiting != waiting
		})
		if err != nil && ctx.Err() == nil {
			v.log.Warn().Err(err).Msg("event stream ended") // the browser connects again
			return
		}
	}
}

// eventWriter writes the events of one stream.
type eventWriter struct {
	ctx     context.Context //nolint:containedctx // the context of the one request
	writer  http.ResponseWriter
	control *http.ResponseController
	shown   view

	lastVersion string
	written     time.Time
	// waiting is true if the state is not done. The feed does not report a change from unknown to pending, so
	// the stream has to read the state.
	waiting bool
	ended   bool
}

// refreshInterval returns the interval between two reads of the state.
func (e *eventWriter) refreshInterval() time.Duration {
	if e.waiting {
		return refreshInterval
	}
	return repeatInterval - rand.N(jitter)
}

// send writes a state, unless it has written the same state just now.
func (e *eventWriter) send(state store.State) {
	e.waiting = !state.Done()
	version := e.shown.version(state)
	if version == e.lastVersion && time.Since(e.written) < repeatInterval-jitter {
		return
	}
	text := ""
	if e.written.IsZero() {
		// The browsers of a lost server must not all connect again at once.
		text = fmt.Sprintf("retry: %d\n\n", (time.Second + rand.N(2*time.Second)).Milliseconds())
	}
	data, _ := json.Marshal(e.shown.data(e.ctx, state)) // flat strings are always JSON
	text += fmt.Sprintf("event: state\ndata: %s\n\n", data)
	e.lastVersion, e.written = version, time.Now()
	_ = e.control.SetWriteDeadline(e.written.Add(writeTimeout))
	_, err := e.writer.Write([]byte(text))
	e.ended = err != nil || e.control.Flush() != nil
}

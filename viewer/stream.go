package viewer

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"roomlink/internal/access"
	"roomlink/internal/store"
	"roomlink/internal/web"
	"roomlink/messages"
)

const (
	// writeTimeout bounds a write to a browser. The viewer drops a slower browser, which then connects again.
	writeTimeout = 5 * time.Second
	// repeatInterval is the longest time until a stream repeats its state. Proxies then keep the stream open,
	// and a browser knows that it is alive. live.js waits a little longer.
	repeatInterval = 10 * time.Second
	// settledInterval is the interval between two reads of a state that a renewal may change. The feed does not
	// report the event of the renewal.
	settledInterval = 3 * time.Second
	// maxStreams bounds the event streams of a page. A page beyond it polls.
	maxStreams = 20
	// jitter spreads streams that began at the same time, as after a restart.
	jitter = 3 * time.Second
)

// view is the part of a state that a page follows.
type view struct {
	// version changes with the data.
	version func(store.State) string
	// data returns a flat object of strings.
	data func(context.Context, store.State) any
}

// poll returns a handler that answers with the state as JSON, for a page that cannot have a stream.
func (v *Viewer) poll(shown func(access.Claims) view, purposes []access.Purpose) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		claims, state, err := v.lookUp(r, purposes)
		if err != nil {
			v.failPage(w, r, err)
			return
		}
		web.JSON(w, http.StatusOK, shown(claims).data(r.Context(), state))
	}
}

// streams counts the event streams of each page.
type streams struct {
	mu     sync.Mutex
	counts map[streamKey]int
}

// streamKey identifies a page, whichever of its addresses is used.
type streamKey struct {
	purpose          access.Purpose
	account, subject string
}

// enter counts a stream until leave is called. It returns false for one stream too many.
func (s *streams) enter(claims access.Claims) (leave func(), ok bool) {
	key := streamKey{claims.Purpose, claims.Account, claims.Subject}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.counts[key] >= maxStreams {
		return nil, false
	}
	s.counts[key]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.counts[key]--; s.counts[key] == 0 {
			delete(s.counts, key)
		}
	}, true
}

// stream returns a handler that answers with the state whenever it changes, as server-sent events (WHATWG
// HTML, section 9.2). The stream ends if the browser is gone or too slow, if the token expires, if the account
// is removed, or if the server stops.
func (v *Viewer) stream(shown func(access.Claims) view, purposes []access.Purpose) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		claims, err := v.claims(r, purposes)
		if err != nil {
			v.failPage(w, r, err)
			return
		}
		leave, ok := v.streams.enter(claims)
		if !ok {
			fail(w, errTooManyStreams)
			return
		}
		defer leave()
		ctx, stop := web.UntilStopping(r)
		defer stop()
		ctx, cancel := context.WithDeadline(ctx, claims.Expires)
		defer cancel()
		defer v.onRemoval(claims.Account, cancel)()
		header := w.Header()
		header.Set("Content-Type", "text/event-stream")
		header.Set("X-Accel-Buffering", "no") // nginx would collect the events
		events := &eventWriter{
			ctx: ctx, writer: w, control: http.NewResponseController(w), shown: shown(claims),
			interval: repeatInterval - rand.N(jitter),
		}
		// The stream outlives the deadlines of a request.
		_ = events.control.SetReadDeadline(time.Time{})
		_ = events.control.SetWriteDeadline(time.Time{})
		v.following.Inc()
		defer v.following.Dec()
		v.follow(events, conversationOf(claims))
	}
}

// follow sends the states of a conversation until the stream ends.
func (v *Viewer) follow(events *eventWriter, conversation messages.Conversation) {
	for events.ctx.Err() == nil && !events.ended {
		interval := events.interval
		err := v.config.Feed.Follow(events.ctx, conversation, interval, func(state store.State) bool {
			events.send(state)
			return events.ended || events.interval != interval
		})
		if err != nil && events.ctx.Err() == nil {
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
	// interval is the interval between two reads of the last state.
	interval time.Duration
	ended    bool
}

// nextInterval returns the interval between two reads of a state. A ready conversation changes only by links,
// which the feed reports.
func (e *eventWriter) nextInterval(state store.State) time.Duration {
	switch {
	case !state.Done():
		return refreshInterval
	case state.Status != store.StatusReady:
		return settledInterval
	case e.interval > settledInterval:
		return e.interval
	}
	return repeatInterval - rand.N(jitter)
}

// send writes a state, unless it is the last one and not due to be repeated.
func (e *eventWriter) send(state store.State) {
	e.interval = e.nextInterval(state)
	version := e.shown.version(state)
	if version == e.lastVersion && time.Since(e.written)+e.interval < repeatInterval {
		return // the next read comes early enough to repeat the state
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
	// HTTP/2 resets a stream when its deadline passes, even if nothing is being written.
	_ = e.control.SetWriteDeadline(time.Time{})
}

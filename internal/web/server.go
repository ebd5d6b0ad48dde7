package web

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/go-chi/chi/v5/middleware"
	"github.com/rs/zerolog"
)

// The defaults of a [Server].
const (
	defaultGrace         = 5 * time.Second
	defaultHeaderTimeout = 10 * time.Second
	defaultBodyTimeout   = 30 * time.Second
	defaultAnswerTimeout = time.Minute
	defaultIdleTimeout   = 2 * time.Minute

	// maxHeaderBytes leaves room for 32 KB of headers, and for the 32 bytes that HTTP/2 adds to the
	// size of each header (RFC 9113, section 6.5.2).
	maxHeaderBytes = 48 << 10

	// HTTP/2 has one connection for many answers, so their deadlines do not close it. The server
	// sends a ping after pingAfter without a frame, and closes the connection pingTimeout later.
	pingAfter   = 30 * time.Second
	pingTimeout = 15 * time.Second
)

// Server serves HTTP within limits. A zero field means its default.
type Server struct {
	Handler http.Handler
	Logger  zerolog.Logger
	// Grace is how long running requests may take to finish after a stop; 5 s by default.
	Grace time.Duration
	// HeaderTimeout bounds how long a request's headers may take to arrive; 10 s by
	// default. After it the connection is closed, with net/http's plain 400 at most.
	HeaderTimeout time.Duration
	// BodyTimeout bounds how long a whole request may take to arrive; 30 s by default.
	// After it [ReadBody] returns a 408, and the connection is closed with the answer.
	BodyTimeout time.Duration
	// AnswerTimeout bounds the time from the end of the headers to the end of the answer;
	// 60 s by default. After it the connection is closed.
	AnswerTimeout time.Duration
	// IdleTimeout bounds how long a connection may wait for its next request; 2 minutes by
	// default.
	IdleTimeout time.Duration
	// MaxConnections bounds the connections; 0 for no bound. For a new one the server closes the
	// one that has been idle for longest. If all are busy, the new one waits.
	MaxConnections int
	// Metrics count connections that were closed or not accepted; nil for none.
	Metrics *Metrics
}

// Run serves until the context ends. Then it accepts no more connections and waits up to
// [Server.Grace] for running requests. It returns nil, or the listener's error.
func (s Server) Run(ctx context.Context, listener net.Listener) error {
	limited := limitConnections(listener, s)
	server := &http.Server{
		Handler:           s.Handler,
		ReadHeaderTimeout: cmp.Or(s.HeaderTimeout, defaultHeaderTimeout),
		ReadTimeout:       cmp.Or(s.BodyTimeout, defaultBodyTimeout),
		WriteTimeout:      cmp.Or(s.AnswerTimeout, defaultAnswerTimeout),
		IdleTimeout:       cmp.Or(s.IdleTimeout, defaultIdleTimeout),
		MaxHeaderBytes:    maxHeaderBytes,
		ConnState:         limited.observe,
		HTTP2: &http.HTTP2Config{
			SendPingTimeout: pingAfter, PingTimeout: pingTimeout, WriteByteTimeout: pingTimeout,
		},
		ErrorLog: stdlog.New(io.Discard, "", 0), // it would quote requests
		BaseContext: func(net.Listener) context.Context {
			return context.WithValue(context.WithoutCancel(ctx), stoppingKey{}, ctx)
		},
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(limited) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serving on %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	deadline, cancel := context.WithTimeout(context.WithoutCancel(ctx), cmp.Or(s.Grace, defaultGrace))
	defer cancel()
	if err := server.Shutdown(deadline); err != nil {
		s.Logger.Warn().Err(err).Msg("requests cut off")
		_ = server.Close()
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving on %s: %w", listener.Addr(), err)
	}
	return nil
}

// stoppingKey is the key of the server's context in a request's context.
type stoppingKey struct{}

// UntilStopping returns the context of a request that also ends when the server begins to
// stop. Handlers with long waits use it.
func UntilStopping(r *http.Request) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(r.Context())
	server, ok := r.Context().Value(stoppingKey{}).(context.Context)
	if !ok {
		return ctx, cancel
	}
	release := context.AfterFunc(server, cancel)
	return ctx, func() {
		release()
		cancel()
	}
}

// Logged is a middleware that logs each request. It turns a panic into a 500, or closes
// the connection if the answer has begun.
func Logged(log zerolog.Logger) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			began := time.Now()
			recorder := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
			defer func() {
				fault := recover()
				abort := fault == http.ErrAbortHandler //nolint:errorlint // as net/http does
				if fault != nil && !abort {
					log.Error().Bytes("stack", debug.Stack()).Msg("request panicked")
					abort = recorder.Status() != 0
					if !abort {
						Fail(recorder, errors.New("panic"))
					}
				}
				log.Debug().
					Str("method", r.Method).Str("path", maskPath(r.URL.Path)).Int("status", recorder.Status()).
					Dur("took", time.Since(began)).Str("remote", r.RemoteAddr).Msg("request answered")
				if abort {
					// A truncated answer must not look complete.
					panic(http.ErrAbortHandler)
				}
			}()
			next.ServeHTTP(recorder, r)
		})
	}
}

// maskPath hides the token in the address of one of our pages. The token is a key, so it is
// hidden in a wrong address too: only what pages have below their address stays.
func maskPath(path string) string {
	segments := strings.Split(path, "/")
	below := false
	for i, segment := range segments {
		switch {
		case !below:
			below = strings.EqualFold(segment, "open") || strings.EqualFold(segment, "card")
		case segment != "" && !slices.Contains(belowPages, segment):
			segments[i] = "***"
		}
	}
	return strings.Join(segments, "/")
}

// belowPages are the last parts of addresses below a page.
var belowPages = []string{"events", "state", "renew", "qr.svg"}

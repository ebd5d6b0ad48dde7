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
	"strings"
	"time"

	"github.com/rs/zerolog"
)

// The limits of a [Server] that sets none of its own.
const (
	defaultGrace         = 5 * time.Second
	defaultHeaderTimeout = 10 * time.Second
	defaultBodyTimeout   = 30 * time.Second
	defaultAnswerTimeout = time.Minute
	defaultIdleTimeout   = 2 * time.Minute

	maxHeaderBytes = 16 << 10
)

// Server answers on a listener, within limits. A field that is zero means its
// default.
type Server struct {
	Handler http.Handler
	Logger  zerolog.Logger
	// Grace is how long requests under way may take to finish after a stop; 5 s by
	// default.
	Grace time.Duration
	// HeaderTimeout is how long a request's headers may take; 10 s by default. A
	// connection that takes longer ends, with net/http's plain 400 at most.
	HeaderTimeout time.Duration
	// BodyTimeout is how long a request may take to come as a whole; 30 s by
	// default. [ReadBody] then returns 408, and the connection ends with the answer.
	BodyTimeout time.Duration
	// AnswerTimeout is how long an answer may take from the end of the headers on;
	// 60 s by default. A connection that takes longer ends.
	AnswerTimeout time.Duration
	// IdleTimeout is how long a connection may wait for its next request; 2 minutes
	// by default.
	IdleTimeout time.Duration
}

// Run answers until the context ends, then stops accepting and lets those
// requests finish that are under way, for at most the grace time. It returns nil
// after that, or the listener's error.
func (s Server) Run(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler:           s.Handler,
		ReadHeaderTimeout: cmp.Or(s.HeaderTimeout, defaultHeaderTimeout),
		ReadTimeout:       cmp.Or(s.BodyTimeout, defaultBodyTimeout),
		WriteTimeout:      cmp.Or(s.AnswerTimeout, defaultAnswerTimeout),
		IdleTimeout:       cmp.Or(s.IdleTimeout, defaultIdleTimeout),
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          stdlog.New(io.Discard, "", 0), // it quotes what clients send
		BaseContext: func(net.Listener) context.Context {
			return context.WithValue(context.WithoutCancel(ctx), stoppingKey{}, ctx)
		},
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
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

// stoppingKey is where a request's context holds the server's.
type stoppingKey struct{}

// UntilStopping returns the context of a request that also ends when the server
// begins to stop, for what waits longer than a stop should.
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

// Logged writes a line for each request, and turns a panic into 500; if an answer
// has begun already, into a connection that breaks off.
func Logged(log zerolog.Logger) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			began := time.Now()
			recorder := &statusRecorder{ResponseWriter: w}
			defer func() {
				fault := recover()
				abort := fault == http.ErrAbortHandler //nolint:errorlint // net/http compares it so
				if fault != nil && !abort {
					log.Error().Bytes("stack", debug.Stack()).Msg("request panicked")
					abort = recorder.status != 0
					if !abort {
						Fail(recorder, errors.New("panic"))
					}
				}
				log.Debug().
					Str("method", r.Method).Str("path", maskPath(r.URL.Path)).Int("status", recorder.status).
					Dur("took", time.Since(began)).Str("remote", r.RemoteAddr).Msg("request answered")
				if abort {
					// Half an answer must not look like a whole one.
					panic(http.ErrAbortHandler)
				}
			}()
			next.ServeHTTP(recorder, r)
		})
	}
}

// maskPath hides the token in the addresses of our pages, wherever they stand: it
// is a key, in an address that leads nowhere too.
func maskPath(path string) string {
	for _, prefix := range []string{"/open/", "/card/"} {
		if before, rest, ok := strings.Cut(path, prefix); ok {
			_, behind, found := strings.Cut(rest, "/")
			if found {
				return before + prefix + "***/" + behind
			}
			return before + prefix + "***"
		}
	}
	return path
}

// statusRecorder remembers the status of an answer.
type statusRecorder struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements [http.ResponseWriter].
func (r *statusRecorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (r *statusRecorder) Write(data []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(data)
}

// Unwrap lets [http.ResponseController] reach the connection.
func (r *statusRecorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

package telemetry

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/rs/zerolog"
)

// maxLevel bounds the body of a change of the level, in bytes.
const maxLevel = 64

// Level is the lowest level of logged lines. It may change while the program runs.
type Level struct{ current atomic.Int32 }

var _ zerolog.Sampler = (*Level)(nil)

// Sample implements [zerolog.Sampler]: it reports whether lines of a level are logged.
func (l *Level) Sample(level zerolog.Level) bool { return int32(level) >= l.current.Load() }

// Set changes the level: trace, debug, info, warn or error. It returns an error for any other text.
func (l *Level) Set(text string) error {
	parsed, err := zerolog.ParseLevel(text)
	if err != nil || parsed > zerolog.ErrorLevel || text == "" {
		return fmt.Errorf("log level %q: want trace, debug, info, warn or error", text)
	}
	l.current.Store(int32(parsed))
	return nil
}

// String returns the level as [Level.Set] takes it.
func (l *Level) String() string { return zerolog.Level(l.current.Load()).String() }

// answerLevel answers GET and PUT /loglevel with the level. A PUT has the new one as its body.
func (o Operations) answerLevel(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPut {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxLevel))
		if err == nil {
			err = o.Level.Set(strings.TrimSpace(string(body)))
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		// This line passes every level, or a change to error would leave no trace.
		o.Logger.Log().Stringer(zerolog.LevelFieldName, zerolog.WarnLevel).Str("kind", "audit").Str("remote", r.RemoteAddr).
			Stringer("log_level", o.Level).Msg("log level changed")
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = fmt.Fprintln(w, o.Level) // the caller may have gone
}

package storecheck

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"roomlink/internal/secret"
	"roomlink/messages"
)

const (
	// markFile is the file of the mark in the data directory.
	markFile     = "waiting.json"
	markInterval = time.Second
	markTimeout  = 5 * time.Second
	// A mark of more than manyMarked events is written every manyInterval.
	manyMarked   = 1_000
	manyInterval = 10 * time.Second
	// maxMarked bounds the events that a mark names. A longer queue has no mark.
	maxMarked = 20_000
)

// Mark names the events that waited a short time ago. After the loss of a whole block nothing
// else knows them.
type Mark struct {
	// Waiting has the time before which the event was not there, in milliseconds of Unix time.
	// The key is the subject without its common beginning.
	Waiting map[string]int64 `json:"waiting"`
}

// readMark reads the mark in a data directory. A missing or damaged one names nothing.
func readMark(dir string) (mark Mark, err error) {
	text, err := os.ReadFile(filepath.Join(dir, markFile))
	if errors.Is(err, fs.ErrNotExist) {
		return mark, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &mark)
	}
	if err != nil {
		return Mark{}, fmt.Errorf("reading the last mark of the queue: %w", err)
	}
	return mark, nil
}

func (m Mark) write(dir string) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return secret.WriteFile(filepath.Join(dir, markFile), secret.String(text))
}

// Marker keeps the mark of a running server. A write fsyncs one small file, and only after the
// queue has changed.
type Marker struct {
	dir    string
	js     jetstream.JetStream
	log    zerolog.Logger
	mark   Mark
	last   jetstream.StreamState
	marked time.Time
	failed bool
}

// NewMarker returns a marker for a data directory. Call it after [Settle].
func NewMarker(dir string, js jetstream.JetStream, log zerolog.Logger) *Marker {
	m := &Marker{dir: dir, js: js, log: log}
	m.mark, _ = readMark(dir) // Settle told about a damaged one
	return m
}

// Run writes a mark every second until the context ends. Then it returns nil.
func (m *Marker) Run(ctx context.Context) error {
	ticker := time.NewTicker(markInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if len(m.mark.Waiting) < manyMarked || time.Since(m.marked) >= manyInterval {
			m.write(ctx)
		}
	}
}

// Close writes the last mark. Call it after Run and after the parts have stopped.
func (m *Marker) Close() { m.write(context.Background()) }

// write writes a mark. It logs the first of several failures: an old mark only knows less.
func (m *Marker) write(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, markTimeout)
	defer cancel()
	err := m.update(ctx)
	if err != nil && !m.failed && ctx.Err() == nil {
		m.log.Warn().Err(err).Msg("noting the waiting events failed")
	}
	m.failed = err != nil
}

func (m *Marker) update(ctx context.Context) error {
	now := time.Now()
	stream, err := m.js.Stream(ctx, messages.ConversationsStream)
	if err != nil {
		return err
	}
	state := stream.CachedInfo().State
	if state.LastSeq == m.last.LastSeq && state.Msgs == m.last.Msgs && !m.marked.IsZero() {
		m.marked = now
		return nil
	}
	waiting := map[string]int64{}
	if state.Msgs > 0 && state.Msgs <= maxMarked {
		found, err := waitingSubjects(ctx, stream)
		if err != nil {
			return err
		}
		for subject := range found {
			since, known := m.mark.Waiting[subject]
			if !known && !m.marked.IsZero() {
				since = m.marked.UnixMilli()
			}
			waiting[subject] = since
		}
	}
	if !maps.Equal(waiting, m.mark.Waiting) {
		if err := (Mark{waiting}).write(m.dir); err != nil {
			return err
		}
	}
	m.mark.Waiting, m.last, m.marked = waiting, state, now
	return nil
}

// waitingSubjects returns the subjects in the queue without their common beginning.
func waitingSubjects(ctx context.Context, stream jetstream.Stream) (map[string]bool, error) {
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(messages.EventSubjects+">"))
	if err != nil {
		return nil, err
	}
	found := make(map[string]bool, len(info.State.Subjects))
	for subject := range info.State.Subjects {
		found[strings.TrimPrefix(subject, messages.EventSubjects)] = true
	}
	return found, nil
}

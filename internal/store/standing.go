package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/nats-io/nats.go/jetstream"

	"roomlink/messages"
)

const (
	// maxStanding bounds the dead letters that [Standing] remembers, each with about 200 bytes.
	maxStanding = 100_000
	// ReasonOther counts dead letters without a reason of [messages.Reasons], and those beyond what [Standing] remembers.
	ReasonOther = "other"
)

// StandingKey is what [Standing] counts by. An empty account means an unknown one.
type StandingKey struct{ Account, Reason string }

// Standing counts the dead letters that stand. It reads each only once. Many goroutines may use it at once.
type Standing struct {
	store *Store

	mu sync.Mutex
	// state is the state of the stream at the last count, next the sequence to read next, and reasons what stands, by
	// subject.
	state   standingState
	next    uint64
	reasons map[string]string
	counts  map[StandingKey]int
}

// standingState changes with every change of a stream.
type standingState struct {
	created               int64
	messages, first, last uint64
	deleted               int
}

// NewStanding returns a count of the dead letters in a store.
func NewStanding(s *Store) *Standing { return &Standing{store: s} }

// Count returns the number of dead letters that stand. Its errors are the broker's; the next call goes on where an
// error ended it.
func (s *Standing) Count(ctx context.Context) (map[StandingKey]int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stream, err := s.store.js.Stream(ctx, messages.DeadLettersStream)
	if err != nil {
		return nil, fmt.Errorf("counting dead letters: %w", s.store.explain(err))
	}
	info := stream.CachedInfo()
	state := standingState{
		info.Created.UnixNano(), info.State.Msgs, info.State.FirstSeq, info.State.LastSeq, info.State.NumDeleted,
	}
	if state == s.state && s.counts != nil {
		return s.counts, nil
	}
	if state.created != s.state.created || state.last+1 < s.next || s.reasons == nil {
		s.next, s.reasons = 1, map[string]string{}
	}
	s.state, s.counts = standingState{created: state.created}, nil
	if err := s.read(ctx, state.last); err != nil {
		return nil, fmt.Errorf("counting dead letters: %w", s.store.explain(err))
	}
	if err := s.forgetGone(ctx, stream); err != nil {
		return nil, fmt.Errorf("counting dead letters: %w", s.store.explain(err))
	}
	counts := map[StandingKey]int{}
	for subject, reason := range s.reasons {
		account, _, _ := messages.SplitSubject(subject)
		counts[StandingKey{account, reason}]++
	}
	if more := int(state.messages) - len(s.reasons); len(s.reasons) >= maxStanding && more > 0 {
		counts[StandingKey{"", ReasonOther}] += more
	}
	s.state, s.counts = state, counts
	return counts, nil
}

// read remembers the dead letters up to a sequence.
func (s *Standing) read(ctx context.Context, last uint64) error {
	for s.next <= last && len(s.reasons) < maxStanding {
		m, err := readLeader(ctx, s.store.js, messages.DeadLettersStream,
			query{NextBySubject: messages.DeadLetterSubjects + ">", Sequence: s.next})
		if errors.Is(err, messages.ErrNotFound) {
			s.next = last + 1
			return nil
		}
		if err != nil {
			return err
		}
		s.reasons[m.Subject], s.next = reasonOf(m), m.Sequence+1
	}
	return nil
}

// reasonOf returns the reason of a dead letter, of a closed list.
func reasonOf(m jetstream.RawStreamMsg) string {
	letter, err := messages.DecodeStored[messages.DeadLetter](m)
	if err != nil || !slices.Contains(messages.Reasons(), letter.Data.Reason) {
		return ReasonOther
	}
	return strings.Clone(letter.Data.Reason)
}

// forgetGone forgets the dead letters that do not stand any more.
func (s *Standing) forgetGone(ctx context.Context, stream jetstream.Stream) error {
	if len(s.reasons) == 0 {
		return nil
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(messages.DeadLetterSubjects+">"))
	if err != nil {
		return err
	}
	for subject := range s.reasons {
		if _, stands := info.State.Subjects[subject]; !stands {
			delete(s.reasons, subject)
		}
	}
	return nil
}

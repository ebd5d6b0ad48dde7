package store_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"roomlink/internal/broker"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/store"
	"roomlink/messages"
)

// newGroupStore returns a store that publishes in groups, on a broker of its own with a
// bounded queue.
func newGroupStore(t *testing.T, maxBytes int64) *store.Store {
	t.Helper()
	b := roomlinktest.StartBrokerWith(t, broker.EmbeddedConfig{Dir: t.TempDir(), Listen: "off"},
		store.StreamSettings{MaxBytes: maxBytes})
	s := store.New(roomlinktest.Connect(t, b), store.WithGroupCommit())
	t.Cleanup(s.Close)
	return s
}

// tally counts the results of publishing.
type tally struct{ accepted, duplicates, full atomic.Int64 }

// publishAll publishes events concurrently and counts the results.
func publishAll(t *testing.T, s *store.Store, events []messages.Event[messages.Started]) *tally {
	t.Helper()
	ctx, results := roomlinktest.Context(t), &tally{}
	var group sync.WaitGroup
	for _, e := range events {
		group.Go(func() {
			switch outcome, err := s.Publish(ctx, e); {
			case errors.Is(err, store.ErrQueueFull):
				results.full.Add(1)
			case err != nil:
				t.Errorf("publishing %q: got error %v, want none", e.Data.InteractionID, err)
			case outcome == store.Duplicate:
				results.duplicates.Add(1)
			default:
				results.accepted.Add(1)
			}
		})
	}
	group.Wait()
	return results
}

// startEvents returns the events of count conversations.
func startEvents(prefix string, count int) []messages.Event[messages.Started] {
	events := make([]messages.Event[messages.Started], count)
	for i := range events {
		events[i] = roomlinktest.Started(fmt.Sprintf("%s-%d", prefix, i))
	}
	return events
}

func TestGroupCommitStoresEveryEvent(t *testing.T) {
	const conversations = 700
	s := newGroupStore(t, 0)
	events := startEvents("call", conversations)
	results := publishAll(t, s, append(events, events...))
	if accepted, duplicates := results.accepted.Load(), results.duplicates.Load(); accepted != conversations || duplicates != conversations {
		t.Errorf("results: got %d accepted and %d duplicates, want %d of each", accepted, duplicates, conversations)
	}
	wantMessages(t, s, messages.ConversationsStream, conversations)
	for _, e := range events {
		stored, err := s.Waiting(roomlinktest.Context(t), e.Data.Conversation)
		if err != nil || stored.ID != e.ID {
			t.Fatalf("event of %q: got %q and error %v, want %q", e.Data.InteractionID, stored.ID, err, e.ID)
		}
	}
}

// The broker refuses a whole batch because of one message. The store must still store the
// others.
func TestGroupCommitStoresTheRestOfARefusedBatch(t *testing.T) {
	const conversations = 300
	s := newGroupStore(t, 0)
	other := store.New(s.JetStream())
	for i := range 5 { // another store publishes these, so s does not know their subjects
		roomlinktest.Publish(t, other, roomlinktest.Started(fmt.Sprintf("call-%d", i*50)))
	}
	results := publishAll(t, s, startEvents("call", conversations))
	if accepted, duplicates := results.accepted.Load(), results.duplicates.Load(); accepted != conversations-5 || duplicates != 5 {
		t.Errorf("results: got %d accepted and %d duplicates, want %d and 5", accepted, duplicates, conversations-5)
	}
	wantMessages(t, s, messages.ConversationsStream, conversations)
}

func TestGroupCommitFillsTheQueue(t *testing.T) {
	const conversations = 300
	s := newGroupStore(t, 64<<10)
	results := publishAll(t, s, startEvents("call", conversations))
	accepted, full := results.accepted.Load(), results.full.Load()
	if accepted == 0 || full == 0 || accepted+full != conversations {
		t.Errorf("results: got %d accepted, %d duplicates and %d full, want some accepted and the rest full",
			accepted, results.duplicates.Load(), full)
	}
	wantMessages(t, s, messages.ConversationsStream, uint64(accepted))
}

func TestGroupCommitReturnsTheSequencesOfLinks(t *testing.T) {
	const conversations = 200
	s, ctx := newGroupStore(t, 0), roomlinktest.Context(t)
	sequences := make([]uint64, conversations)
	var group sync.WaitGroup
	for i := range conversations {
		group.Go(func() {
			var err error
			if sequences[i], err = s.PublishLinks(ctx, roomlinktest.Links(fmt.Sprintf("call-%d", i), 1), 0); err != nil {
				t.Errorf("publishing links: got error %v, want none", err)
			}
		})
	}
	group.Wait()
	for i, sequence := range sequences {
		id := fmt.Sprintf("call-%d", i)
		stored, err := s.Links(ctx, roomlinktest.Conversation(id), store.Leader)
		if err != nil || stored.Sequence != sequence {
			t.Fatalf("links of %q: got sequence %d and error %v, want %d", id, stored.Sequence, err, sequence)
		}
		_, err = s.PublishLinks(ctx, roomlinktest.Links(id, 2), sequence+1)
		if !errors.Is(err, store.ErrSuperseded) {
			t.Fatalf("publishing after other links: got error %v, want %v", err, store.ErrSuperseded)
		}
	}
}

// Each caller has its own deadline, and none waits for a closed connection.
func TestGroupCommitRespectsItsCallers(t *testing.T) {
	s := newGroupStore(t, 0)
	roomlinktest.Publish(t, s, roomlinktest.Started("before"))
	cancelled, cancel := context.WithCancel(roomlinktest.Context(t))
	cancel()
	if _, err := s.Publish(cancelled, roomlinktest.Started("cancelled")); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got error %v, want %v", err, context.Canceled)
	}
	s.JetStream().Conn().Close()
	ctx, cancel := context.WithTimeout(roomlinktest.Context(t), 10*time.Second)
	defer cancel()
	var group sync.WaitGroup
	for i := range 50 {
		group.Go(func() {
			if _, err := s.Publish(ctx, roomlinktest.Started(fmt.Sprintf("after-%d", i))); err == nil {
				t.Error("publishing on a closed connection: got no error, want one")
			}
		})
	}
	group.Wait()
	s.Close()
}

// BenchmarkPublishSynced compares groups with single events on a broker that syncs every
// write.
func BenchmarkPublishSynced(b *testing.B) {
	for _, callers := range []int{1, 64, 256} {
		for name, options := range map[string][]store.Option{"singly": nil, "grouped": {store.WithGroupCommit()}} {
			b.Run(fmt.Sprintf("%s-%d", name, callers), func(b *testing.B) {
				embedded := roomlinktest.StartBrokerWith(b, broker.EmbeddedConfig{Dir: b.TempDir(), Listen: "off"}, store.StreamSettings{})
				s := store.New(roomlinktest.Connect(b, embedded), options...)
				var next atomic.Int64
				b.ReportAllocs()
				b.ResetTimer()
				var group sync.WaitGroup
				for range callers {
					group.Go(func() {
						for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
							if _, err := s.Publish(b.Context(), roomlinktest.Started(strconv.FormatInt(i, 10))); err != nil {
								b.Errorf("publishing: %v", err)
							}
						}
					})
				}
				group.Wait()
			})
		}
	}
}

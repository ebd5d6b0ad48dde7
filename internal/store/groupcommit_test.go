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

// newGroup returns a client that stores in groups, on a broker of its own whose
// queue has a size.
func newGroup(t *testing.T, maxBytes int64) *store.Store {
	t.Helper()
	b := roomlinktest.StartBrokerWith(t, broker.EmbeddedConfig{Dir: t.TempDir(), Listen: "off"},
		store.StreamSettings{MaxBytes: maxBytes})
	client := store.New(roomlinktest.Connect(t, b), store.WithGroupCommit())
	t.Cleanup(client.Close)
	return client
}

// tally counts what callers were told.
type tally struct{ accepted, duplicates, full atomic.Int64 }

// publishAll publishes events at once and counts what each was told.
func publishAll(t *testing.T, client *store.Store, events []messages.Event[messages.Started]) *tally {
	t.Helper()
	ctx, told := roomlinktest.Context(t), &tally{}
	var group sync.WaitGroup
	for _, e := range events {
		group.Go(func() {
			switch outcome, err := client.Publish(ctx, e); {
			case errors.Is(err, store.ErrQueueFull):
				told.full.Add(1)
			case err != nil:
				t.Errorf("publishing %q: got error %v, want none", e.Data.InteractionID, err)
			case outcome == store.Duplicate:
				told.duplicates.Add(1)
			default:
				told.accepted.Add(1)
			}
		})
	}
	group.Wait()
	return told
}

// startedOfEach returns an event for each of some conversations.
func startedOfEach(prefix string, count int) []messages.Event[messages.Started] {
	events := make([]messages.Event[messages.Started], count)
	for i := range events {
		events[i] = roomlinktest.Started(fmt.Sprintf("%s-%d", prefix, i))
	}
	return events
}

func TestGroupsStoreEveryEvent(t *testing.T) {
	const conversations = 700
	client := newGroup(t, 0)
	events := startedOfEach("call", conversations)
	told := publishAll(t, client, append(events, events...))
	if accepted, duplicates := told.accepted.Load(), told.duplicates.Load(); accepted != conversations || duplicates != conversations {
		t.Errorf("told: got %d accepted and %d duplicates, want %d of each", accepted, duplicates, conversations)
	}
	wantMessages(t, client, messages.ConversationsStream, conversations)
	for _, e := range events {
		stored, err := client.Waiting(roomlinktest.Context(t), e.Data.Conversation)
		if err != nil || stored.ID != e.ID {
			t.Fatalf("event of %q: got %q and error %v, want %q", e.Data.InteractionID, stored.ID, err, e.ID)
		}
	}
}

// A batch is refused for one of its messages; the others are stored all the same,
// and that one is told apart.
func TestGroupsTellARefusedEventFromTheOthers(t *testing.T) {
	const conversations = 300
	client := newGroup(t, 0)
	other := store.New(client.JetStream())
	for i := range 5 { // stored by somebody else: this client cannot know of them
		roomlinktest.Publish(t, other, roomlinktest.Started(fmt.Sprintf("call-%d", i*50)))
	}
	told := publishAll(t, client, startedOfEach("call", conversations))
	if accepted, duplicates := told.accepted.Load(), told.duplicates.Load(); accepted != conversations-5 || duplicates != 5 {
		t.Errorf("told: got %d accepted and %d duplicates, want %d and 5", accepted, duplicates, conversations-5)
	}
	wantMessages(t, client, messages.ConversationsStream, conversations)
}

func TestGroupsFillAQueue(t *testing.T) {
	const conversations = 300
	client := newGroup(t, 64<<10)
	told := publishAll(t, client, startedOfEach("call", conversations))
	accepted, full := told.accepted.Load(), told.full.Load()
	if accepted == 0 || full == 0 || accepted+full != conversations {
		t.Errorf("told: got %d accepted, %d duplicates and %d full, want some accepted, the rest full",
			accepted, told.duplicates.Load(), full)
	}
	wantMessages(t, client, messages.ConversationsStream, uint64(accepted))
}

func TestGroupsTellTheSequencesOfLinks(t *testing.T) {
	const conversations = 200
	client, ctx := newGroup(t, 0), roomlinktest.Context(t)
	sequences := make([]uint64, conversations)
	var group sync.WaitGroup
	for i := range conversations {
		group.Go(func() {
			var err error
			if sequences[i], err = client.PublishLinks(ctx, roomlinktest.Links(fmt.Sprintf("call-%d", i), 1), 0); err != nil {
				t.Errorf("publishing links: got error %v, want none", err)
			}
		})
	}
	group.Wait()
	for i, sequence := range sequences {
		id := fmt.Sprintf("call-%d", i)
		stored, err := client.Links(ctx, roomlinktest.Conversation(id), store.Leader)
		if err != nil || stored.Sequence != sequence {
			t.Fatalf("links of %q: got sequence %d and error %v, want %d", id, stored.Sequence, err, sequence)
		}
		_, err = client.PublishLinks(ctx, roomlinktest.Links(id, 2), sequence+1)
		if !errors.Is(err, store.ErrSuperseded) {
			t.Fatalf("publishing after others: got error %v, want %v", err, store.ErrSuperseded)
		}
	}
}

// Each caller has a deadline of its own, and none waits for a broker that is gone.
func TestGroupsEndWithTheirCallers(t *testing.T) {
	client := newGroup(t, 0)
	roomlinktest.Publish(t, client, roomlinktest.Started("before"))
	gone, cancel := context.WithCancel(roomlinktest.Context(t))
	cancel()
	if _, err := client.Publish(gone, roomlinktest.Started("given up")); !errors.Is(err, context.Canceled) {
		t.Errorf("publishing for nobody: got error %v, want %v", err, context.Canceled)
	}
	client.JetStream().Conn().Close()
	ctx, cancel := context.WithTimeout(roomlinktest.Context(t), 10*time.Second)
	defer cancel()
	var group sync.WaitGroup
	for i := range 50 {
		group.Go(func() {
			if _, err := client.Publish(ctx, roomlinktest.Started(fmt.Sprintf("after-%d", i))); err == nil {
				t.Error("publishing without a broker: got no error, want one")
			}
		})
	}
	group.Wait()
	client.Close()
}

// BenchmarkPublishSynced compares groups with single events on a store that syncs
// every write, from as many callers as Talkdesk may have at once.
func BenchmarkPublishSynced(b *testing.B) {
	for _, callers := range []int{1, 64, 256} {
		for name, options := range map[string][]store.Option{"singly": nil, "grouped": {store.WithGroupCommit()}} {
			b.Run(fmt.Sprintf("%s-%d", name, callers), func(b *testing.B) {
				embedded := roomlinktest.StartBrokerWith(b, broker.EmbeddedConfig{Dir: b.TempDir(), Listen: "off"}, store.StreamSettings{})
				client := store.New(roomlinktest.Connect(b, embedded), options...)
				var next atomic.Int64
				b.ReportAllocs()
				b.ResetTimer()
				var group sync.WaitGroup
				for range callers {
					group.Go(func() {
						for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
							if _, err := client.Publish(b.Context(), roomlinktest.Started(strconv.FormatInt(i, 10))); err != nil {
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

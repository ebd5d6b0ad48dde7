package store_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"roomlink/internal/roomlinktest"
	"roomlink/internal/store"
	"roomlink/messages"
)

// What was acknowledged is read at once, and what is not there is told so.
func TestSingleServerReadsWhatIsStored(t *testing.T) {
	client := store.New(roomlinktest.Connect(t, roomlinktest.StartBroker(t, account)), store.WithSingleServer())
	if _, err := client.Links(roomlinktest.Context(t), roomlinktest.Conversation("a"), store.Leader); !errors.Is(err, messages.ErrNotFound) {
		t.Errorf("links of nobody: got error %v, want %v", err, messages.ErrNotFound)
	}
	sequence := uint64(0)
	for generation := 1; generation <= 50; generation++ {
		e := roomlinktest.Links("a", generation)
		sequence = roomlinktest.PublishLinks(t, client, e, sequence)
		stored, err := client.Links(roomlinktest.Context(t), roomlinktest.Conversation("a"), store.Leader)
		if err != nil || stored.ID != e.ID || stored.Sequence != sequence {
			t.Fatalf("links: got generation %d at %d and error %v, want %d at %d",
				stored.Data.Generation, stored.Sequence, err, generation, sequence)
		}
	}
	roomlinktest.Publish(t, client, roomlinktest.Started("b"))
	if _, err := client.Waiting(roomlinktest.Context(t), roomlinktest.Conversation("b")); err != nil {
		t.Errorf("event: got error %v, want it", err)
	}
}

// Reads at the same time go together, and each has its own answer: that nothing is
// there, or what is, be it more than one answer holds.
func TestSingleServerReadsTogether(t *testing.T) {
	client := store.New(roomlinktest.Connect(t, roomlinktest.StartBroker(t, account)), store.WithSingleServer())
	defer client.Close()
	const readers, each = 64, 20
	stored := map[string]string{}
	for reader := range readers {
		e := roomlinktest.Links(fmt.Sprint("with links ", reader), 1)
		e.Data.RecordingURL = "https://video.example/" + strings.Repeat("r", 100<<10) // 6 MiB for all
		roomlinktest.PublishLinks(t, client, e, 0)
		stored[e.Data.InteractionID] = e.ID
	}
	var group sync.WaitGroup
	for reader := range readers {
		group.Go(func() {
			for n := range each {
				id := fmt.Sprint("with links ", reader)
				got, err := client.Links(roomlinktest.Context(t), roomlinktest.Conversation(id), store.Leader)
				if err != nil || got.ID != stored[id] || got.Data.InteractionID != id {
					t.Errorf("links of %q: got %q of %q and error %v, want %q", id, got.ID, got.Data.InteractionID, err, stored[id])
				}
				id = fmt.Sprint("without ", reader, n)
				if _, err := client.Links(roomlinktest.Context(t), roomlinktest.Conversation(id), store.Leader); !errors.Is(err, messages.ErrNotFound) {
					t.Errorf("links of nobody: got error %v, want %v", err, messages.ErrNotFound)
				}
			}
		})
	}
	group.Wait()
}

// Links that are replaced again and again while they are read in groups are there at
// every moment.
func TestSingleServerReadsTogetherWhatChanges(t *testing.T) {
	client := store.New(roomlinktest.Connect(t, roomlinktest.StartBroker(t, account)), store.WithSingleServer())
	defer client.Close()
	sequence := roomlinktest.PublishLinks(t, client, roomlinktest.Links("a", 1), 0)
	var group sync.WaitGroup
	for range 32 {
		group.Go(func() {
			last := uint64(0)
			for range 100 {
				got, err := client.Links(roomlinktest.Context(t), roomlinktest.Conversation("a"), store.Leader)
				if err != nil || got.Sequence < last {
					t.Errorf("links: got %d after %d and error %v, want them", got.Sequence, last, err)
				}
				last = got.Sequence
			}
		})
	}
	for generation := 2; generation <= 200; generation++ {
		sequence = roomlinktest.PublishLinks(t, client, roomlinktest.Links("a", generation), sequence)
	}
	group.Wait()
}

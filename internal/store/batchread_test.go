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

// A read finds what the broker has acknowledged, and reports what is not stored.
func TestSingleServerReadsAcknowledgedMessages(t *testing.T) {
	s := newStore(t, store.WithSingleServer())
	if _, err := s.Links(roomlinktest.Context(t), roomlinktest.Conversation("a"), store.Leader); !errors.Is(err, messages.ErrNotFound) {
		t.Errorf("links that are not stored: got error %v, want %v", err, messages.ErrNotFound)
	}
	sequence := uint64(0)
	for generation := 1; generation <= 50; generation++ {
		e := roomlinktest.Links("a", generation)
		sequence = roomlinktest.PublishLinks(t, s, e, sequence)
		stored, err := s.Links(roomlinktest.Context(t), roomlinktest.Conversation("a"), store.Leader)
		if err != nil || stored.ID != e.ID || stored.Sequence != sequence {
			t.Fatalf("links: got generation %d at %d and error %v, want %d at %d",
				stored.Data.Generation, stored.Sequence, err, generation, sequence)
		}
	}
	roomlinktest.Publish(t, s, roomlinktest.Started("b"))
	if _, err := s.Waiting(roomlinktest.Context(t), roomlinktest.Conversation("b")); err != nil {
		t.Errorf("waiting event: got error %v, want none", err)
	}
}

// Concurrent reads share requests, and each gets its own result. All links together are
// larger than one answer.
func TestSingleServerReadsInGroups(t *testing.T) {
	s := newStore(t, store.WithSingleServer())
	defer s.Close()
	const readers, each = 64, 20
	stored := map[string]string{}
	for reader := range readers {
		e := roomlinktest.Links(fmt.Sprint("with links ", reader), 1)
		e.Data.RecordingURL = "https://video.example/" + strings.Repeat("r", 100<<10) // 6 MiB in all
		roomlinktest.PublishLinks(t, s, e, 0)
		stored[e.Data.InteractionID] = e.ID
	}
	var group sync.WaitGroup
	for reader := range readers {
		group.Go(func() {
			for n := range each {
				id := fmt.Sprint("with links ", reader)
				got, err := s.Links(roomlinktest.Context(t), roomlinktest.Conversation(id), store.Leader)
				if err != nil || got.ID != stored[id] || got.Data.InteractionID != id {
					t.Errorf("links of %q: got %q of %q and error %v, want %q", id, got.ID, got.Data.InteractionID, err, stored[id])
				}
				id = fmt.Sprint("without ", reader, n)
				if _, err := s.Links(roomlinktest.Context(t), roomlinktest.Conversation(id), store.Leader); !errors.Is(err, messages.ErrNotFound) {
					t.Errorf("links that are not stored: got error %v, want %v", err, messages.ErrNotFound)
				}
			}
		})
	}
	group.Wait()
}

// Reads in groups always find links, even while a worker replaces them.
func TestSingleServerReadsChangingLinksInGroups(t *testing.T) {
	s := newStore(t, store.WithSingleServer())
	defer s.Close()
	sequence := roomlinktest.PublishLinks(t, s, roomlinktest.Links("a", 1), 0)
	var group sync.WaitGroup
	for range 32 {
		group.Go(func() {
			last := uint64(0)
			for range 100 {
				got, err := s.Links(roomlinktest.Context(t), roomlinktest.Conversation("a"), store.Leader)
				if err != nil || got.Sequence < last {
					t.Errorf("links: got sequence %d after %d and error %v, want no older links", got.Sequence, last, err)
				}
				last = got.Sequence
			}
		})
	}
	for generation := 2; generation <= 200; generation++ {
		sequence = roomlinktest.PublishLinks(t, s, roomlinktest.Links("a", generation), sequence)
	}
	group.Wait()
}

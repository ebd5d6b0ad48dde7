package store_test

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"roomlink/internal/roomlinktest"
	"roomlink/internal/store"
	"roomlink/messages"
)

// Renewals of the same links are one. A renewal of renewed links is another one, even
// while the broker still knows the message id of the first.
func TestRenewSeveralTimes(t *testing.T) {
	s := newStore(t)
	roomlinktest.PublishLinks(t, s, roomlinktest.Links("a", 1), 0)
	var sequence uint64 = 1
	for generation := 2; generation <= 4; generation++ {
		for i := range 3 {
			outcome, err := s.Renew(roomlinktest.Context(t), roomlinktest.Conversation("a"), messages.SourceAPI, time.Now())
			want := store.Accepted
			if i > 0 {
				want = store.Duplicate
			}
			if err != nil || outcome != want {
				t.Fatalf("renewal %d to generation %d: got %v and error %v, want %v", i, generation, outcome, err, want)
			}
		}
		event, err := messages.Decode[messages.Started](roomlinktest.SettleNext(t, s).Data())
		if err != nil || event.Data.Generation() != generation {
			t.Fatalf("event: got generation %d and error %v, want %d", event.Data.Generation(), err, generation)
		}
		if sequence, err = s.PublishLinks(roomlinktest.Context(t), roomlinktest.Links("a", generation), sequence); err != nil {
			t.Fatalf("publishing links: %v", err)
		}
	}
	wantMessages(t, s, messages.ConversationsStream, 0)
}

// A renewal repeats the whole request of the links.
func TestRenewalRepeatsTheRequest(t *testing.T) {
	s := newStore(t)
	links := roomlinktest.Links("a", 1)
	links.Data.Request = roomlinktest.FullRequest(t, "a")
	roomlinktest.PublishLinks(t, s, links, 0)
	if _, err := s.Renew(roomlinktest.Context(t), roomlinktest.Conversation("a"), messages.SourceAPI, time.Now()); err != nil {
		t.Fatalf("renewing: %v", err)
	}
	event, err := s.Waiting(roomlinktest.Context(t), roomlinktest.Conversation("a"))
	if err != nil || !reflect.DeepEqual(event.Data.Request, links.Data.Request) {
		t.Errorf("request: got %+v and error %v, want %+v", event.Data.Request, err, links.Data.Request)
	}
}

func TestRenewWithoutLinks(t *testing.T) {
	s := newStore(t)
	_, err := s.Renew(roomlinktest.Context(t), roomlinktest.Conversation("a"), messages.SourceAPI, time.Now())
	if !errors.Is(err, messages.ErrNotFound) {
		t.Errorf("renewing a conversation without links: got error %v, want %v", err, messages.ErrNotFound)
	}
	wantMessages(t, s, messages.ConversationsStream, 0)
}

// After a dead letter, the broker accepts the same event again: once for all callers with
// the same snapshot.
func TestPublishAfterADeadLetter(t *testing.T) {
	s := newStore(t)
	roomlinktest.Publish(t, s, roomlinktest.Started("a"))
	roomlinktest.SettleNext(t, s)
	publishDeadLetter(t, s, roomlinktest.DeadLetter(t, "a"))
	known, err := s.Snapshot(roomlinktest.Context(t), roomlinktest.Conversation("a"))
	if err != nil || known.DeadLetter == nil || known.Links != nil {
		t.Fatalf("snapshot: got links %v, dead letter %v and error %v, want only the dead letter",
			known.Links, known.DeadLetter, err)
	}
	for _, want := range []store.Outcome{store.Accepted, store.Duplicate} {
		outcome, err := s.PublishAfter(roomlinktest.Context(t), roomlinktest.Started("a"), known)
		if err != nil || outcome != want {
			t.Errorf("publishing: got %v and error %v, want %v", outcome, err, want)
		}
	}
	wantMessages(t, s, messages.ConversationsStream, 1)
}

func TestSnapshotAnsweredBy(t *testing.T) {
	links := func(generation int) *messages.Stored[messages.Links] {
		return &messages.Stored[messages.Links]{Event: roomlinktest.Links("a", generation)}
	}
	letter := func(sequence uint64) *messages.Stored[messages.DeadLetter] {
		return &messages.Stored[messages.DeadLetter]{Sequence: sequence}
	}
	for _, test := range []struct {
		name  string
		known store.Snapshot
		state store.State
		want  bool
	}{
		{"nothing new", store.Snapshot{}, store.State{}, false},
		{"first links", store.Snapshot{}, store.State{Links: links(1)}, true},
		{"the known links", store.Snapshot{Links: links(1)}, store.State{Links: links(1)}, false},
		{"renewed links", store.Snapshot{Links: links(1)}, store.State{Links: links(2)}, true},
		{"a dead letter", store.Snapshot{Links: links(1)}, store.State{Links: links(1), DeadLetter: letter(3)}, true},
		{"the known dead letter", store.Snapshot{DeadLetter: letter(3)}, store.State{DeadLetter: letter(3)}, false},
		{"a later dead letter", store.Snapshot{DeadLetter: letter(3)}, store.State{DeadLetter: letter(4)}, true},
	} {
		if got := test.known.AnsweredBy(test.state); got != test.want {
			t.Errorf("%s: got %t, want %t", test.name, got, test.want)
		}
	}
}

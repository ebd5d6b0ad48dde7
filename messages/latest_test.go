package messages_test

import (
	"errors"
	"testing"
	"time"

	"roomlink/internal/roomlinktest"
	"roomlink/messages"
)

// A renewal soon after another one has been done with makes one more set of
// links, though the broker still remembers the first.
func TestRenewAgain(t *testing.T) {
	client := newClient(t)
	roomlinktest.PublishLinks(t, client, roomlinktest.Links("a", 1), 0)
	var sequence uint64 = 1
	for generation := 2; generation <= 4; generation++ {
		for i := range 3 {
			outcome, err := client.Renew(roomlinktest.Context(t), roomlinktest.Conversation("a"), messages.SourceAPI, time.Now())
			want := messages.Accepted
			if i > 0 {
				want = messages.Duplicate
			}
			if err != nil || outcome != want {
				t.Fatalf("renewal %d to generation %d: got %v and error %v, want %v", i, generation, outcome, err, want)
			}
		}
		event, err := messages.Decode[messages.Started](roomlinktest.SettleNext(t, client).Data())
		if err != nil || event.Data.Generation() != generation {
			t.Fatalf("event: got generation %d and error %v, want %d", event.Data.Generation(), err, generation)
		}
		if sequence, err = client.PublishLinks(roomlinktest.Context(t), roomlinktest.Links("a", generation), sequence); err != nil {
			t.Fatalf("publishing links: %v", err)
		}
	}
	wantMessages(t, client, messages.ConversationsStream, 0)
}

func TestRenewWithoutLinks(t *testing.T) {
	client := newClient(t)
	_, err := client.Renew(roomlinktest.Context(t), roomlinktest.Conversation("a"), messages.SourceAPI, time.Now())
	if !errors.Is(err, messages.ErrNotFound) {
		t.Errorf("renewing what has no links: got error %v, want %v", err, messages.ErrNotFound)
	}
	wantMessages(t, client, messages.ConversationsStream, 0)
}

// After a dead letter, the same event is taken anew: once for all who saw it.
func TestPublishAfterADeadLetter(t *testing.T) {
	client := newClient(t)
	roomlinktest.Publish(t, client, roomlinktest.Started("a"))
	roomlinktest.SettleNext(t, client)
	mustPublishDeadLetter(t, client, deadLetterOf(t, "a"))
	known, err := client.Latest(roomlinktest.Context(t), roomlinktest.Conversation("a"))
	if err != nil || known.DeadLetter == nil || known.Links != nil {
		t.Fatalf("latest: got links %v, dead letter %v and error %v, want the dead letter alone", known.Links, known.DeadLetter, err)
	}
	for _, want := range []messages.Outcome{messages.Accepted, messages.Duplicate} {
		outcome, err := client.PublishAfter(roomlinktest.Context(t), roomlinktest.Started("a"), known)
		if err != nil || outcome != want {
			t.Errorf("publishing: got %v and error %v, want %v", outcome, err, want)
		}
	}
	wantMessages(t, client, messages.ConversationsStream, 1)
}

func TestAnswered(t *testing.T) {
	links := func(generation int) *messages.Stored[messages.Links] {
		return &messages.Stored[messages.Links]{Event: roomlinktest.Links("a", generation)}
	}
	letter := func(sequence uint64) *messages.Stored[messages.DeadLetter] {
		return &messages.Stored[messages.DeadLetter]{Sequence: sequence}
	}
	for _, test := range []struct {
		name  string
		known messages.Latest
		state messages.State
		want  bool
	}{
		{"nothing came", messages.Latest{}, messages.State{}, false},
		{"first links", messages.Latest{}, messages.State{Links: links(1)}, true},
		{"the known links", messages.Latest{Links: links(1)}, messages.State{Links: links(1)}, false},
		{"renewed links", messages.Latest{Links: links(1)}, messages.State{Links: links(2)}, true},
		{"a dead letter", messages.Latest{Links: links(1)}, messages.State{Links: links(1), DeadLetter: letter(3)}, true},
		{"the known dead letter", messages.Latest{DeadLetter: letter(3)}, messages.State{DeadLetter: letter(3)}, false},
		{"a later dead letter", messages.Latest{DeadLetter: letter(3)}, messages.State{DeadLetter: letter(4)}, true},
	} {
		if got := test.known.Answered(test.state); got != test.want {
			t.Errorf("%s: got %t, want %t", test.name, got, test.want)
		}
	}
}

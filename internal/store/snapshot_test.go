package store_test

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

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
	revoked := &messages.Stored[messages.Links]{Event: roomlinktest.RevokedLinks("a", 1)}
	letter := func(sequence uint64) *messages.Stored[messages.DeadLetter] {
		return &messages.Stored[messages.DeadLetter]{Sequence: sequence}
	}
	remade := letter(1)
	remade.StoredAt = roomlinktest.Noon.Time
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
		{"the known links, revoked", store.Snapshot{Links: links(1)}, store.State{Links: revoked}, false},
		{"first links, revoked at once", store.Snapshot{}, store.State{Links: revoked}, true},
		{"a dead letter of a stream that was made again", store.Snapshot{DeadLetter: letter(3)}, store.State{DeadLetter: remade}, true},
		{"a later dead letter", store.Snapshot{DeadLetter: letter(3)}, store.State{DeadLetter: letter(4)}, true},
	} {
		if got := test.known.AnsweredBy(test.state); got != test.want {
			t.Errorf("%s: got %t, want %t", test.name, got, test.want)
		}
	}
}

// Revoked links keep everything but their URLs. A second revocation changes nothing.
func TestRevoke(t *testing.T) {
	s := newStore(t)
	links := roomlinktest.Links("a", 3)
	links.Data.Request, links.Data.RecordingURL = roomlinktest.FullRequest(t, "a"), "https://video.example/r"
	links.Data.ExpiresAt = messages.At(roomlinktest.Noon.AddDate(1000, 0, 0))
	first := roomlinktest.PublishLinks(t, s, links, 0)
	for _, now := range []time.Time{roomlinktest.Noon.Time, roomlinktest.Noon.Add(time.Hour)} {
		want := links.Data.Revoke(roomlinktest.Noon)
		revoked, err := s.Revoke(roomlinktest.Context(t), roomlinktest.Conversation("a"), now)
		if err != nil || !reflect.DeepEqual(revoked, want) {
			t.Fatalf("revoking: got %+v and error %v, want %+v", revoked, err, want)
		}
		got, err := s.Links(roomlinktest.Context(t), roomlinktest.Conversation("a"), store.Leader)
		if err != nil {
			t.Fatalf("reading the links: %v", err)
		}
		if !reflect.DeepEqual(got.Data, want) || got.Sequence != first+1 || got.ID == links.ID {
			t.Errorf("links at %v: got %+v with sequence %d, want %+v with sequence %d and another id",
				now, got.Data, got.Sequence, want, first+1)
		}
	}
	known, err := s.Snapshot(roomlinktest.Context(t), roomlinktest.Conversation("a"))
	if err != nil || !known.Revoked() || known.Valid(roomlinktest.Noon.Time) || known.Generation() != 3 {
		t.Errorf("snapshot: got %+v and error %v, want revoked links of generation 3", known.Links, err)
	}
}

func TestRevokeWithoutLinks(t *testing.T) {
	s := newStore(t)
	_, err := s.Revoke(roomlinktest.Context(t), roomlinktest.Conversation("a"), time.Now())
	if !errors.Is(err, messages.ErrNotFound) {
		t.Errorf("revoking without links: got error %v, want %v", err, messages.ErrNotFound)
	}
	wantMessages(t, s, messages.LinksStream, 0)
}

// A renewal replaces revoked links by the next generation.
func TestRenewAfterARevocation(t *testing.T) {
	s := newStore(t)
	roomlinktest.PublishLinks(t, s, roomlinktest.Links("a", 1), 0)
	if _, err := s.Revoke(roomlinktest.Context(t), roomlinktest.Conversation("a"), time.Now()); err != nil {
		t.Fatalf("revoking: %v", err)
	}
	outcome, err := s.Renew(roomlinktest.Context(t), roomlinktest.Conversation("a"), messages.SourceCLI, time.Now())
	if err != nil || outcome != store.Accepted {
		t.Fatalf("renewing: got %v and error %v, want %v", outcome, err, store.Accepted)
	}
	event, err := s.Waiting(roomlinktest.Context(t), roomlinktest.Conversation("a"))
	if err != nil || event.Data.Generation() != 2 {
		t.Errorf("event: got generation %d and error %v, want 2", event.Data.Generation(), err)
	}
}

// interrupted runs before each publication of a message.
type interrupted struct {
	jetstream.JetStream
	before func()
}

func (i interrupted) PublishMsg(
	ctx context.Context, msg *nats.Msg, options ...jetstream.PublishOpt,
) (*jetstream.PubAck, error) {
	i.before()
	return i.JetStream.PublishMsg(ctx, msg, options...)
}

// A renewal that is stored while a revocation is under way wins.
func TestRevokeDuringARenewal(t *testing.T) {
	s := newStore(t)
	first := roomlinktest.PublishLinks(t, s, roomlinktest.Links("a", 1), 0)
	racing := store.New(interrupted{s.JetStream(), func() {
		roomlinktest.PublishLinks(t, s, roomlinktest.Links("a", 2), first)
	}})
	_, err := racing.Revoke(roomlinktest.Context(t), roomlinktest.Conversation("a"), time.Now())
	if !errors.Is(err, store.ErrSuperseded) {
		t.Errorf("revoking: got error %v, want %v", err, store.ErrSuperseded)
	}
	got, err := s.Links(roomlinktest.Context(t), roomlinktest.Conversation("a"), store.Leader)
	if err != nil || got.Data.Generation != 2 || got.Data.Revoked() {
		t.Errorf("links: got %+v and error %v, want generation 2, not revoked", got.Data, err)
	}
}

package messages_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"roomlink/internal/roomlinktest"
	"roomlink/messages"
)

func TestSubscriberReadsLinks(t *testing.T) {
	s := newSite(t)
	want := roomlinktest.Links("a", 1)
	sequence := roomlinktest.PublishLinks(t, s.store, want, 0)
	roomlinktest.PublishUnreadable(t, s.store, roomlinktest.Conversation("x").LinksSubject())
	subscriber, _ := s.subscriber(t, "board")
	got, err := subscriber.Links(t.Context(), roomlinktest.Conversation("a")) // a context without a deadline
	if err != nil || got.ID != want.ID || got.Sequence != sequence {
		t.Errorf("links: got %q at %d and error %v, want %q at %d", got.ID, got.Sequence, err, want.ID, sequence)
	}
	for id, want := range map[string]error{
		"nothing stored": messages.ErrNotFound, "x": messages.ErrInvalid, "": messages.ErrInvalid,
	} {
		if _, err := subscriber.Links(roomlinktest.Context(t), roomlinktest.Conversation(id)); !errors.Is(err, want) {
			t.Errorf("links of %q: got error %v, want %v", id, err, want)
		}
	}
}

func TestSubscriberReadsDeadLetters(t *testing.T) {
	s := newSite(t)
	want := roomlinktest.DeadLetter(t, "a")
	roomlinktest.PublishDeadLetter(t, s.store, want)
	crm, _ := s.subscriber(t, "crm")
	got, err := crm.DeadLetter(roomlinktest.Context(t), roomlinktest.Conversation("a"))
	if err != nil || got.ID != want.ID || got.Data.Reason != messages.ReasonRejected {
		t.Errorf("dead letter: got %q and error %v, want %q", got.ID, err, want.ID)
	}
	if _, err := crm.DeadLetter(roomlinktest.Context(t), roomlinktest.Conversation("b")); !errors.Is(err, messages.ErrNotFound) {
		t.Errorf("no dead letter: got error %v, want %v", err, messages.ErrNotFound)
	}
}

// The broker does not answer what it refuses. The subscriber says so all the same, and the
// program's own error handler gets only what nobody expected.
func TestSubscriberIsRefused(t *testing.T) {
	s := newSite(t)
	theirs := messages.Conversation{Account: other, InteractionID: "a"}
	noLinks := func(messages.Stored[messages.Links]) error { return nil }
	noLetters := func(messages.Stored[messages.DeadLetter]) error { return nil }
	board, unexpected := s.subscriber(t, "board")
	for what, ask := range map[string]func(context.Context) error{
		"links of another account": func(ctx context.Context) error {
			_, err := board.Links(ctx, theirs)
			return err
		},
		"a dead letter": func(ctx context.Context) error {
			_, err := board.DeadLetter(ctx, roomlinktest.Conversation("a"))
			return err
		},
		"watching another account": func(ctx context.Context) error {
			return board.Watch(ctx, other, messages.WatchOptions{}, noLinks)
		},
		"a subscriber of another account": func(ctx context.Context) error { return board.Consume(ctx, other, "crm", noLinks) },
		"another subscriber": func(ctx context.Context) error {
			return board.Consume(ctx, roomlinktest.Account, "crm", noLinks)
		},
		"dead letters": func(ctx context.Context) error {
			return board.ConsumeDeadLetters(ctx, roomlinktest.Account, "board", noLetters)
		},
	} {
		ctx := roomlinktest.Context(t)
		if err := ask(ctx); !errors.Is(err, messages.ErrPermission) || ctx.Err() != nil {
			t.Errorf("%s: got error %v, want %v at once", what, err, messages.ErrPermission)
		}
	}
	if len(unexpected) > 0 {
		t.Errorf("error handler: got %v, want nothing", <-unexpected)
	}
	waiting, _ := s.subscriber(t, "board") // it is refused twice, and expects one
	if _, err := waiting.Wait(roomlinktest.Context(t), theirs); !errors.Is(err, messages.ErrPermission) {
		t.Errorf("waiting in another account: got error %v, want %v", err, messages.ErrPermission)
	}
	// The same connection still works, and reports what is not the subscriber's.
	if _, err := board.Links(roomlinktest.Context(t), roomlinktest.Conversation("a")); !errors.Is(err, messages.ErrNotFound) {
		t.Errorf("links: got error %v, want %v", err, messages.ErrNotFound)
	}
}

func TestSubscriberPassesOnOtherErrors(t *testing.T) {
	s := newSite(t)
	errs := make(chan error, 1)
	js := dial(t, s.address, "board", nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { errs <- err }))
	messages.NewSubscriber(js)
	if err := js.Conn().Publish("not.permitted", nil); err != nil {
		t.Fatalf("publishing: %v", err)
	}
	if err := roomlinktest.Receive(t, errs, "an error"); !strings.Contains(err.Error(), `"not.permitted"`) {
		t.Errorf("error handler: got %v, want the refused subject", err)
	}
}

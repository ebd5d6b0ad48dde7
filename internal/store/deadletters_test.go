package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"

	"roomlink/internal/roomlinktest"
	"roomlink/internal/store"
	"roomlink/messages"
)

// listDeadLetters returns the accounts and interaction ids of the dead letters.
func listDeadLetters(t *testing.T, s *store.Store, account string) []string {
	t.Helper()
	var ids []string
	err := s.DeadLetters(roomlinktest.Context(t), account, func(letter messages.Stored[messages.DeadLetter]) error {
		ids = append(ids, letter.Data.Account+"/"+letter.Data.InteractionID)
		return nil
	})
	if err != nil {
		t.Fatalf("listing dead letters: %v", err)
	}
	return ids
}

func TestDeadLettersOfOneAccountAndOfAll(t *testing.T) {
	s := newStore(t)
	other := roomlinktest.DeadLetter(t, "b")
	other.Data.Account = "other"
	publishDeadLetter(t, s, roomlinktest.DeadLetter(t, "a"))
	publishDeadLetter(t, s, other)
	publishDeadLetter(t, s, roomlinktest.DeadLetter(t, "c"))
	roomlinktest.PublishUnreadable(t, s, roomlinktest.Conversation("x").DeadLetterSubject())
	for account, want := range map[string][]string{
		"":       {"acme/a", "other/b", "acme/c"},
		"acme":   {"acme/a", "acme/c"},
		"other":  {"other/b"},
		"nobody": nil,
	} {
		if got := listDeadLetters(t, s, account); !slices.Equal(got, want) {
			t.Errorf("dead letters of %q: got %q, want %q", account, got, want)
		}
	}
}

func TestDeadLettersListsManyBatches(t *testing.T) {
	const count = 600 // more than two batches
	s, ctx := newStore(t), roomlinktest.Context(t)
	for i := range count {
		e := roomlinktest.DeadLetter(t, fmt.Sprintf("a-%d", i))
		if err := s.PublishDeadLetter(ctx, e, messages.Token(e.Data.InteractionID)); err != nil {
			t.Fatalf("publishing a dead letter: %v", err)
		}
	}
	if got := len(listDeadLetters(t, s, account)); got != count {
		t.Errorf("dead letters: got %d, want %d", got, count)
	}
}

// A replayed event may fail again before the list ends.
func TestDeadLettersLeavesOutNewOnes(t *testing.T) {
	s, ctx := newStore(t), roomlinktest.Context(t)
	publishDeadLetter(t, s, roomlinktest.DeadLetter(t, "a"))
	publishDeadLetter(t, s, roomlinktest.DeadLetter(t, "b"))
	calls := 0
	err := s.DeadLetters(ctx, account, func(letter messages.Stored[messages.DeadLetter]) error {
		calls++
		again := roomlinktest.DeadLetter(t, letter.Data.InteractionID)
		return s.PublishDeadLetter(ctx, again, messages.Token(again.Data.InteractionID))
	})
	if err != nil || calls != 2 {
		t.Errorf("dead letters: got %d and error %v, want 2", calls, err)
	}
}

func TestDeadLettersReturnsErrors(t *testing.T) {
	s := newStore(t)
	publishDeadLetter(t, s, roomlinktest.DeadLetter(t, "a"))
	publishDeadLetter(t, s, roomlinktest.DeadLetter(t, "b"))
	enough := errors.New("enough")
	calls := 0
	err := s.DeadLetters(roomlinktest.Context(t), "", func(messages.Stored[messages.DeadLetter]) error {
		calls++
		return enough
	})
	if !errors.Is(err, enough) || calls != 1 {
		t.Errorf("stopping: got %d calls and error %v, want 1 and %v", calls, err, enough)
	}
	ctx, cancel := context.WithCancel(roomlinktest.Context(t))
	err = s.DeadLetters(ctx, "", func(messages.Stored[messages.DeadLetter]) error {
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelling: got error %v, want %v", err, context.Canceled)
	}
	if err := s.DeadLetters(roomlinktest.Context(t), "A B", nil); !errors.Is(err, messages.ErrInvalid) {
		t.Errorf("impossible account: got error %v, want %v", err, messages.ErrInvalid)
	}
}

func TestReplay(t *testing.T) {
	s := newStore(t)
	original := roomlinktest.Started("a")
	original.TraceParent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	original.Data.Replays = 1
	roomlinktest.Publish(t, s, original)
	roomlinktest.SettleNext(t, s)
	e := roomlinktest.DeadLetter(t, "a")
	e.Data.Event = roomlinktest.Encode(t, original)
	letter := publishDeadLetter(t, s, e)

	// The broker still knows the message id of the original event.
	wantReplay(t, s, letter, store.Accepted)
	wantMessages(t, s, messages.DeadLettersStream, 0)
	waiting, err := s.Waiting(roomlinktest.Context(t), roomlinktest.Conversation("a"))
	if err != nil {
		t.Fatalf("reading the event: %v", err)
	}
	if waiting.Data.Replays != 2 || waiting.ID == original.ID || waiting.TraceParent != original.TraceParent {
		t.Errorf("event: got %d replays, id %q and trace %q, want 2, another id than %q, and %q",
			waiting.Data.Replays, waiting.ID, waiting.TraceParent, original.ID, original.TraceParent)
	}
	msg := roomlinktest.SettleNext(t, s)
	want := fmt.Sprintf("acme/a/1/%d/%d", letter.StoredAt.UnixNano(), letter.Sequence)
	if got := msg.Headers().Get("Nats-Msg-Id"); got != want {
		t.Errorf("message id: got %q, want %q", got, want)
	}
}

// Somebody deleted the stream of dead letters, and it counts from 1 again. The broker must not
// take the replay of a new dead letter for that of an old one.
func TestReplayAfterTheStreamIsMadeAgain(t *testing.T) {
	s := newStore(t)
	for range 2 {
		letter := publishDeadLetter(t, s, roomlinktest.DeadLetter(t, "a"))
		if letter.Sequence != 1 {
			t.Fatalf("sequence: got %d, want 1", letter.Sequence)
		}
		wantReplay(t, s, letter, store.Accepted)
		roomlinktest.SettleNext(t, s)
		if err := s.JetStream().DeleteStream(roomlinktest.Context(t), messages.DeadLettersStream); err != nil {
			t.Fatalf("deleting the stream: %v", err)
		}
		err := store.ProvisionStream(roomlinktest.Context(t), s.JetStream(), store.StreamSettings{}, messages.DeadLettersStream)
		if err != nil {
			t.Fatalf("making the stream again: %v", err)
		}
	}
}

func wantReplay(
	t *testing.T, s *store.Store, letter messages.Stored[messages.DeadLetter], want store.Outcome,
) {
	t.Helper()
	got, err := s.Replay(roomlinktest.Context(t), letter)
	if err != nil || got != want {
		t.Fatalf("replaying: got %v and error %v, want %v", got, err, want)
	}
}

func TestReplayTwice(t *testing.T) {
	s := newStore(t)
	letter := publishDeadLetter(t, s, roomlinktest.DeadLetter(t, "a"))
	wantReplay(t, s, letter, store.Accepted)
	wantReplay(t, s, letter, store.Duplicate)
	wantMessages(t, s, messages.ConversationsStream, 1)
	roomlinktest.SettleNext(t, s)
	wantReplay(t, s, letter, store.Duplicate)
	wantMessages(t, s, messages.ConversationsStream, 0)
}

// A replay may break off after it published the event: then the dead letter is still
// stored. Here the replayed event has also failed again.
func TestReplayKeepsANewerDeadLetter(t *testing.T) {
	s := newStore(t)
	letter := publishDeadLetter(t, s, roomlinktest.DeadLetter(t, "a"))
	wantReplay(t, s, letter, store.Accepted)
	again := publishDeadLetter(t, s, roomlinktest.DeadLetter(t, "a"))
	wantReplay(t, s, letter, store.Duplicate)
	kept, err := s.DeadLetter(roomlinktest.Context(t), roomlinktest.Conversation("a"), store.Leader)
	if err != nil || kept.Sequence != again.Sequence {
		t.Errorf("newer dead letter: got %d and error %v, want %d", kept.Sequence, err, again.Sequence)
	}
}

func TestReplayOfARenewalKeepsItsGeneration(t *testing.T) {
	s := newStore(t)
	e := roomlinktest.DeadLetter(t, "a")
	e.Data.Event = roomlinktest.Encode(t, roomlinktest.Renewal("a", 3))
	wantReplay(t, s, publishDeadLetter(t, s, e), store.Accepted)
	waiting, err := s.Waiting(roomlinktest.Context(t), roomlinktest.Conversation("a"))
	if err != nil || waiting.Data.Renews != 3 {
		t.Errorf("event: got renews %d and error %v, want 3", waiting.Data.Renews, err)
	}
}

// TestReplayOfAnotherConversation: damage may have changed the id in the event of a dead letter.
func TestReplayOfAnotherConversation(t *testing.T) {
	s := newStore(t)
	e := roomlinktest.DeadLetter(t, "a")
	e.Data.Event = roomlinktest.Encode(t, roomlinktest.Started("b"))
	_, err := s.Replay(roomlinktest.Context(t), publishDeadLetter(t, s, e))
	if !errors.Is(err, messages.ErrInvalid) {
		t.Errorf("replay: got error %v, want %v", err, messages.ErrInvalid)
	}
	wantMessages(t, s, messages.ConversationsStream, 0)
	wantMessages(t, s, messages.DeadLettersStream, 1)
}

func TestReplayOfAnUnreadableEvent(t *testing.T) {
	for name, event := range map[string]json.RawMessage{
		"text": json.RawMessage(`"no JSON"`), "object": json.RawMessage(`{"a":1}`),
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			e := roomlinktest.DeadLetter(t, "a")
			e.Data.Event = event
			letter := publishDeadLetter(t, s, e)
			if _, err := s.Replay(roomlinktest.Context(t), letter); !errors.Is(err, messages.ErrInvalid) {
				t.Errorf("replaying: got error %v, want %v", err, messages.ErrInvalid)
			}
			wantMessages(t, s, messages.DeadLettersStream, 1)
			wantMessages(t, s, messages.ConversationsStream, 0)
		})
	}
}

func TestDiscard(t *testing.T) {
	s := newStore(t)
	older := publishDeadLetter(t, s, roomlinktest.DeadLetter(t, "a"))
	publishDeadLetter(t, s, roomlinktest.DeadLetter(t, "b"))
	newer := publishDeadLetter(t, s, roomlinktest.DeadLetter(t, "a"))
	for _, test := range []struct {
		what   string
		letter messages.Stored[messages.DeadLetter]
		want   []string
	}{
		{"a replaced one", older, []string{"acme/b", "acme/a"}},
		{"the stored one", newer, []string{"acme/b"}},
		{"a missing one", newer, []string{"acme/b"}},
	} {
		if err := s.Discard(roomlinktest.Context(t), test.letter); err != nil {
			t.Errorf("discarding %s: got error %v, want none", test.what, err)
		}
		if got := listDeadLetters(t, s, account); !slices.Equal(got, test.want) {
			t.Errorf("after discarding %s: got %q, want %q", test.what, got, test.want)
		}
	}
}

// An unreadable event has no interaction id, but its subject has a token.
func TestPublishDeadLetterUsesTheToken(t *testing.T) {
	s := newStore(t)
	token := messages.Token("two words")
	e := roomlinktest.DeadLetter(t, "unreadable")
	e.Data.Event = json.RawMessage(`"no JSON"`)
	if err := s.PublishDeadLetter(roomlinktest.Context(t), e, token); err != nil {
		t.Fatalf("publishing a dead letter: %v", err)
	}
	stored, err := s.DeadLetter(roomlinktest.Context(t), roomlinktest.Conversation("two words"), store.Leader)
	if err != nil || stored.ID != e.ID {
		t.Errorf("dead letter: got %q and error %v, want %q", stored.ID, err, e.ID)
	}
}

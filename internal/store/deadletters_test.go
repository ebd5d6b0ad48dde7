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

// listed returns the interaction ids of the dead letters.
func listed(t *testing.T, client *store.Store, account string) []string {
	t.Helper()
	var ids []string
	err := client.DeadLetters(roomlinktest.Context(t), account, func(letter messages.Stored[messages.DeadLetter]) error {
		ids = append(ids, letter.Data.Account+"/"+letter.Data.InteractionID)
		return nil
	})
	if err != nil {
		t.Fatalf("listing dead letters: %v", err)
	}
	return ids
}

func TestDeadLettersOfAnAccountAndOfAll(t *testing.T) {
	client := newClient(t)
	other := roomlinktest.DeadLetter(t, "b")
	other.Data.Account = "other"
	mustPublishDeadLetter(t, client, roomlinktest.DeadLetter(t, "a"))
	mustPublishDeadLetter(t, client, other)
	mustPublishDeadLetter(t, client, roomlinktest.DeadLetter(t, "c"))
	if _, err := client.JetStream().Publish(roomlinktest.Context(t), roomlinktest.Conversation("x").DeadLetterSubject(), []byte("{}")); err != nil {
		t.Fatalf("publishing what breaks the contract: %v", err)
	}
	for account, want := range map[string][]string{
		"":       {"acme/a", "other/b", "acme/c"},
		"acme":   {"acme/a", "acme/c"},
		"other":  {"other/b"},
		"nobody": nil,
	} {
		if got := listed(t, client, account); !slices.Equal(got, want) {
			t.Errorf("dead letters of %q: got %q, want %q", account, got, want)
		}
	}
}

func TestManyDeadLetters(t *testing.T) {
	const count = 600 // More than two batches.
	client, ctx := newClient(t), roomlinktest.Context(t)
	for i := range count {
		e := roomlinktest.DeadLetter(t, fmt.Sprintf("a-%d", i))
		if err := client.PublishDeadLetter(ctx, e, messages.Token(e.Data.InteractionID)); err != nil {
			t.Fatalf("publishing a dead letter: %v", err)
		}
	}
	if got := len(listed(t, client, account)); got != count {
		t.Errorf("dead letters: got %d, want %d", got, count)
	}
}

// A replayed event may fail again before the list ends.
func TestDeadLettersEndWithThoseThatWereThere(t *testing.T) {
	client, ctx := newClient(t), roomlinktest.Context(t)
	mustPublishDeadLetter(t, client, roomlinktest.DeadLetter(t, "a"))
	mustPublishDeadLetter(t, client, roomlinktest.DeadLetter(t, "b"))
	calls := 0
	err := client.DeadLetters(ctx, account, func(letter messages.Stored[messages.DeadLetter]) error {
		calls++
		again := roomlinktest.DeadLetter(t, letter.Data.InteractionID)
		return client.PublishDeadLetter(ctx, again, messages.Token(again.Data.InteractionID))
	})
	if err != nil || calls != 2 {
		t.Errorf("dead letters: got %d and error %v, want 2", calls, err)
	}
}

func TestDeadLettersStopEarly(t *testing.T) {
	client := newClient(t)
	mustPublishDeadLetter(t, client, roomlinktest.DeadLetter(t, "a"))
	mustPublishDeadLetter(t, client, roomlinktest.DeadLetter(t, "b"))
	enough := errors.New("enough")
	calls := 0
	err := client.DeadLetters(roomlinktest.Context(t), "", func(messages.Stored[messages.DeadLetter]) error {
		calls++
		return enough
	})
	if !errors.Is(err, enough) || calls != 1 {
		t.Errorf("stopping: got %d calls and error %v, want 1 and %v", calls, err, enough)
	}
	ctx, cancel := context.WithCancel(roomlinktest.Context(t))
	err = client.DeadLetters(ctx, "", func(messages.Stored[messages.DeadLetter]) error {
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelling: got error %v, want %v", err, context.Canceled)
	}
	if err := client.DeadLetters(roomlinktest.Context(t), "A B", nil); !errors.Is(err, messages.ErrInvalid) {
		t.Errorf("bad account: got error %v, want %v", err, messages.ErrInvalid)
	}
}

func TestReplay(t *testing.T) {
	client := newClient(t)
	original := roomlinktest.Started("a")
	original.TraceParent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	original.Data.Replays = 1
	roomlinktest.Publish(t, client, original)
	roomlinktest.SettleNext(t, client)
	e := roomlinktest.DeadLetter(t, "a")
	e.Data.Event = roomlinktest.Encode(t, original)
	letter := mustPublishDeadLetter(t, client, e)

	// The message id of the original is still in the window, and must not stop it.
	wantReplay(t, client, letter, store.Accepted)
	wantMessages(t, client, messages.DeadLettersStream, 0)
	waiting, err := client.Waiting(roomlinktest.Context(t), roomlinktest.Conversation("a"))
	if err != nil {
		t.Fatalf("reading the event: %v", err)
	}
	if waiting.Data.Replays != 2 || waiting.ID == original.ID || waiting.TraceParent != original.TraceParent {
		t.Errorf("event: got %d replays, id %q, trace %q, want 2, another than %q, %q",
			waiting.Data.Replays, waiting.ID, waiting.TraceParent, original.ID, original.TraceParent)
	}
	msg := roomlinktest.SettleNext(t, client)
	want := fmt.Sprintf("acme/a/1/%d", letter.Sequence)
	if got := msg.Headers().Get("Nats-Msg-Id"); got != want {
		t.Errorf("message id: got %q, want %q", got, want)
	}
}

func wantReplay(
	t *testing.T, client *store.Store, letter messages.Stored[messages.DeadLetter], want store.Outcome,
) {
	t.Helper()
	got, err := client.Replay(roomlinktest.Context(t), letter)
	if err != nil || got != want {
		t.Fatalf("replaying: got %v and error %v, want %v", got, err, want)
	}
}

func TestReplayIsSafeToRepeat(t *testing.T) {
	client := newClient(t)
	letter := mustPublishDeadLetter(t, client, roomlinktest.DeadLetter(t, "a"))
	wantReplay(t, client, letter, store.Accepted)
	wantReplay(t, client, letter, store.Duplicate)
	wantMessages(t, client, messages.ConversationsStream, 1)
	roomlinktest.SettleNext(t, client)
	wantReplay(t, client, letter, store.Duplicate)
	wantMessages(t, client, messages.ConversationsStream, 0)
}

// A replay that was cut off between its two halves has left the dead letter.
func TestReplayFinishesWhatWasCutOff(t *testing.T) {
	client := newClient(t)
	letter := mustPublishDeadLetter(t, client, roomlinktest.DeadLetter(t, "a"))
	wantReplay(t, client, letter, store.Accepted)
	again := mustPublishDeadLetter(t, client, roomlinktest.DeadLetter(t, "a"))
	wantReplay(t, client, letter, store.Duplicate)
	kept, err := client.DeadLetter(roomlinktest.Context(t), roomlinktest.Conversation("a"), store.Leader)
	if err != nil || kept.Sequence != again.Sequence {
		t.Errorf("newer dead letter: got %d and error %v, want %d", kept.Sequence, err, again.Sequence)
	}
}

func TestReplayOfARenewalReplacesItsGeneration(t *testing.T) {
	client := newClient(t)
	e := roomlinktest.DeadLetter(t, "a")
	e.Data.Event = roomlinktest.Encode(t, roomlinktest.Renewal("a", 3))
	wantReplay(t, client, mustPublishDeadLetter(t, client, e), store.Accepted)
	waiting, err := client.Waiting(roomlinktest.Context(t), roomlinktest.Conversation("a"))
	if err != nil || waiting.Data.Renews != 3 {
		t.Errorf("event: got renews %d and error %v, want 3", waiting.Data.Renews, err)
	}
}

func TestReplayOfAnUnreadableOriginal(t *testing.T) {
	for name, event := range map[string]json.RawMessage{
		"text": json.RawMessage(`"no JSON"`), "another object": json.RawMessage(`{"a":1}`),
	} {
		t.Run(name, func(t *testing.T) {
			client := newClient(t)
			e := roomlinktest.DeadLetter(t, "a")
			e.Data.Event = event
			letter := mustPublishDeadLetter(t, client, e)
			if _, err := client.Replay(roomlinktest.Context(t), letter); !errors.Is(err, messages.ErrInvalid) {
				t.Errorf("replaying: got error %v, want %v", err, messages.ErrInvalid)
			}
			wantMessages(t, client, messages.DeadLettersStream, 1)
			wantMessages(t, client, messages.ConversationsStream, 0)
		})
	}
}

func TestDiscard(t *testing.T) {
	client := newClient(t)
	older := mustPublishDeadLetter(t, client, roomlinktest.DeadLetter(t, "a"))
	mustPublishDeadLetter(t, client, roomlinktest.DeadLetter(t, "b"))
	newer := mustPublishDeadLetter(t, client, roomlinktest.DeadLetter(t, "a"))
	for _, test := range []struct {
		what   string
		letter messages.Stored[messages.DeadLetter]
		want   []string
	}{
		{"one that was replaced", older, []string{"acme/b", "acme/a"}},
		{"the one that is there", newer, []string{"acme/b"}},
		{"one that is gone", newer, []string{"acme/b"}},
	} {
		if err := client.Discard(roomlinktest.Context(t), test.letter); err != nil {
			t.Errorf("discarding %s: got error %v, want none", test.what, err)
		}
		if got := listed(t, client, account); !slices.Equal(got, test.want) {
			t.Errorf("after discarding %s: got %q, want %q", test.what, got, test.want)
		}
	}
}

// An event that cannot be read has no interaction id, but a subject.
func TestDeadLetterOnTheTokenOfItsEvent(t *testing.T) {
	client := newClient(t)
	token := messages.Token("two words")
	e := roomlinktest.DeadLetter(t, "unreadable")
	e.Data.Event = json.RawMessage(`"no JSON"`)
	if err := client.PublishDeadLetter(roomlinktest.Context(t), e, token); err != nil {
		t.Fatalf("publishing: %v", err)
	}
	stored, err := client.DeadLetter(roomlinktest.Context(t), roomlinktest.Conversation("two words"), store.Leader)
	if err != nil || stored.ID != e.ID {
		t.Errorf("dead letter: got %q and error %v, want %q", stored.ID, err, e.ID)
	}
}

package messages_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"roomlink/internal/roomlinktest"
	"roomlink/messages"
)

func wantTold(t *testing.T, told <-chan messages.Stored[messages.Links], id string, generation int) {
	t.Helper()
	links := roomlinktest.Receive(t, told, "links of "+id)
	if links.Data.InteractionID != id || links.Data.Generation != generation {
		t.Errorf("told: got %q, generation %d, want %q, generation %d",
			links.Data.InteractionID, links.Data.Generation, id, generation)
	}
	if links.Sequence == 0 || links.StoredAt.IsZero() || links.Subject != roomlinktest.Conversation(id).LinksSubject() {
		t.Errorf("told: got %q at %d, stored %v, want all of it", links.Subject, links.Sequence, links.StoredAt)
	}
}

func TestWatchFromTheStart(t *testing.T) {
	client := roomlinktest.Client(t, roomlinktest.StartBroker(t, roomlinktest.Account))
	first := roomlinktest.PublishLinks(t, client, roomlinktest.Links("a", 1), 0)
	roomlinktest.PublishLinks(t, client, roomlinktest.Links("b", 1), 0)
	roomlinktest.PublishLinks(t, client, roomlinktest.Links("a", 2), first)
	told := roomlinktest.Watch(t, client, messages.WatchOptions{})
	wantTold(t, told, "b", 1)
	wantTold(t, told, "a", 2)
	roomlinktest.PublishLinks(t, client, roomlinktest.Links("c", 1), 0)
	wantTold(t, told, "c", 1)
}

func TestWatchFromNow(t *testing.T) {
	client := roomlinktest.Client(t, roomlinktest.StartBroker(t, roomlinktest.Account))
	roomlinktest.PublishLinks(t, client, roomlinktest.Links("before", 1), 0)
	begun := roomlinktest.ConsumersCreated(t, client.JetStream().Conn(), messages.LinksStream)
	told := roomlinktest.Watch(t, client, messages.WatchOptions{FromNow: true})
	roomlinktest.Receive(t, begun, "the consumer that tells where the stream ends")
	roomlinktest.PublishLinks(t, client, roomlinktest.Links("after", 1), 0)
	wantTold(t, told, "after", 1)
}

func TestWatchPassesOverOthersAndTheUnreadable(t *testing.T) {
	client := roomlinktest.Client(t, roomlinktest.StartBroker(t, roomlinktest.Account))
	other := roomlinktest.Links("a", 1)
	other.Data.Account = "other"
	roomlinktest.PublishLinks(t, client, other, 0)
	if _, err := client.JetStream().Publish(roomlinktest.Context(t), roomlinktest.Conversation("x").LinksSubject(), []byte("{}")); err != nil {
		t.Fatalf("publishing: %v", err)
	}
	roomlinktest.PublishLinks(t, client, roomlinktest.Links("b", 1), 0)
	wantTold(t, roomlinktest.Watch(t, client, messages.WatchOptions{}), "b", 1)
}

// The broker may forget a watch's consumer; what is stored before the client
// has made another must be told too.
func TestWatchSurvivesItsConsumer(t *testing.T) {
	roomlinktest.SkipIfShort(t, "it waits for missed heartbeats")
	for _, options := range []messages.WatchOptions{{}, {FromNow: true}} {
		t.Run(fmt.Sprintf("%+v", options), func(t *testing.T) {
			client := roomlinktest.Client(t, roomlinktest.StartBroker(t, roomlinktest.Account))
			begun := roomlinktest.ConsumersCreated(t, client.JetStream().Conn(), messages.LinksStream)
			told := roomlinktest.Watch(t, client, options)
			if options.FromNow {
				roomlinktest.Receive(t, begun, "the consumer that tells where the stream ends")
			}
			for generation := 1; generation <= 3; generation++ {
				roomlinktest.Receive(t, begun, "the watch's consumer")
				roomlinktest.DeleteConsumers(t, client.JetStream(), messages.LinksStream)
				id := fmt.Sprintf("a-%d", generation)
				roomlinktest.PublishLinks(t, client, roomlinktest.Links(id, 1), 0)
				wantTold(t, told, id, 1)
			}
		})
	}
}

func TestWatchEnds(t *testing.T) {
	client := roomlinktest.Client(t, roomlinktest.StartBroker(t, roomlinktest.Account))
	roomlinktest.PublishLinks(t, client, roomlinktest.Links("a", 1), 0)
	enough := errors.New("enough")
	err := messages.NewSubscriber(client.JetStream()).Watch(roomlinktest.Context(t), roomlinktest.Account, messages.WatchOptions{},
		func(messages.Stored[messages.Links]) error { return enough })
	if !errors.Is(err, enough) {
		t.Errorf("stopping: got error %v, want %v", err, enough)
	}
	if err := messages.NewSubscriber(client.JetStream()).Watch(roomlinktest.Context(t), "A B", messages.WatchOptions{}, nil); !errors.Is(err, messages.ErrInvalid) {
		t.Errorf("bad account: got error %v, want %v", err, messages.ErrInvalid)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := messages.NewSubscriber(client.JetStream()).Watch(cancelled, roomlinktest.Account, messages.WatchOptions{}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got error %v, want %v", err, context.Canceled)
	}
}

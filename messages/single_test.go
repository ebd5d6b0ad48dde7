package messages_test

import (
	"errors"
	"testing"

	"roomlink/internal/brokertest"
	"roomlink/messages"
)

// What was acknowledged is read at once, and what is not there is told so.
func TestSingleServerReadsWhatIsStored(t *testing.T) {
	client := messages.NewClient(brokertest.Connect(t, brokertest.Start(t, account)), messages.SingleServer())
	if _, err := client.Links(limited(t), conversation("a"), messages.Leader); !errors.Is(err, messages.ErrNotFound) {
		t.Errorf("links of nobody: got error %v, want %v", err, messages.ErrNotFound)
	}
	sequence := uint64(0)
	for generation := 1; generation <= 50; generation++ {
		e := linksOf("a", generation)
		sequence = mustPublishLinks(t, client, e, sequence)
		stored, err := client.Links(limited(t), conversation("a"), messages.Leader)
		if err != nil || stored.ID != e.ID || stored.Sequence != sequence {
			t.Fatalf("links: got generation %d at %d and error %v, want %d at %d",
				stored.Data.Generation, stored.Sequence, err, generation, sequence)
		}
	}
	mustPublish(t, client, startedOf("b"))
	if _, err := client.Waiting(limited(t), conversation("b")); err != nil {
		t.Errorf("event: got error %v, want it", err)
	}
}

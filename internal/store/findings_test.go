package store_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"roomlink/internal/accounts"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/store"
	"roomlink/messages"
)

func wantFindings(t *testing.T, js jetstream.JetStream, all []accounts.Account, want ...store.Finding) {
	t.Helper()
	got, err := store.Inspect(roomlinktest.Context(t), js, store.StreamSettings{}, all)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("findings: got %+v and error %v, want %+v", got, err, want)
	}
}

func TestInspect(t *testing.T) {
	js, ctx := bareBroker(t), roomlinktest.Context(t)
	all := []accounts.Account{subscribed(account, accounts.Subscriber{Name: "crm", DeadLetters: true})}
	findings := func(state string) []store.Finding {
		return []store.Finding{
			{Stream: messages.ConversationsStream, State: state},
			{Stream: messages.ConversationsStream, Consumer: "rooms-acme", State: state},
			{Stream: messages.LinksStream, State: state},
			{Stream: messages.LinksStream, Consumer: "acme_crm", State: state},
			{Stream: messages.DeadLettersStream, State: state},
			{Stream: messages.DeadLettersStream, Consumer: "acme_crm", State: state},
		}
	}
	wantFindings(t, js, all, findings(store.Missing)...)
	provision(t, js, store.StreamSettings{})
	if _, err := store.ProvisionConsumer(ctx, js, account); err != nil {
		t.Fatalf("providing the consumer: %v", err)
	}
	if err := store.SyncSubscribers(ctx, js, all, time.Now()); err != nil {
		t.Fatalf("syncing the subscribers: %v", err)
	}
	want := findings(store.Present)
	wantFindings(t, js, all, want...)

	// Somebody changes a stream and a consumer, and replaces others by their own.
	links := streamConfig(t, js, messages.LinksStream)
	links.RePublish, links.AllowDirect = nil, false
	if _, err := js.UpdateStream(ctx, links); err != nil {
		t.Fatalf("changing a stream: %v", err)
	}
	rooms := store.ConsumerConfig(account)
	rooms.AckWait = time.Hour
	if _, err := js.UpdateConsumer(ctx, messages.ConversationsStream, rooms); err != nil {
		t.Fatalf("changing a consumer: %v", err)
	}
	if err := js.DeleteStream(ctx, messages.DeadLettersStream); err != nil {
		t.Fatalf("deleting a stream: %v", err)
	}
	own := jetstream.StreamConfig{Name: messages.DeadLettersStream, Subjects: []string{"roomlink.deadletters.*.*"}}
	if _, err := js.CreateStream(ctx, own); err != nil {
		t.Fatalf("creating a stream: %v", err)
	}
	if err := js.DeleteConsumer(ctx, messages.LinksStream, "acme_crm"); err != nil {
		t.Fatalf("deleting a consumer: %v", err)
	}
	config := jetstream.ConsumerConfig{Durable: "acme_crm"}
	if _, err := js.CreateConsumer(ctx, messages.LinksStream, config); err != nil {
		t.Fatalf("creating a consumer: %v", err)
	}
	want[1].State, want[1].Detail = store.Different, "ack_wait is 1h0m0s, not 5s: "+
		`"nats consumer rm ROOMLINK_CONVERSATIONS rooms-acme" deletes it, and its worker makes it again`
	want[2].State, want[2].Detail = store.Different, "republish is nothing, "+
		"not roomlink.links.*.* to roomlink.live.{{wildcard(1)}}.{{wildcard(2)}}, allow_direct is false, not true: "+
		`a restart of roomlink or "roomlink streams apply" changes it back`
	want[3].State = store.Foreign
	want[4].State, want[4].Detail = store.Foreign, "republish is nothing, "+
		"not roomlink.deadletters.*.* to roomlink.failed.{{wildcard(1)}}.{{wildcard(2)}}, max_msgs_per_subject is -1, not 1, "+
		`allow_direct is false, not true: change it with "nats stream edit ROOMLINK_DEAD_LETTERS"`
	want[5].State = store.Missing
	wantFindings(t, js, all, want...)
}

// What "roomlink streams apply" cannot change must show, too.
func TestInspectShowsWhatIsFixed(t *testing.T) {
	js, ctx := bareBroker(t), roomlinktest.Context(t)
	provision(t, js, store.StreamSettings{})
	links := streamConfig(t, js, messages.LinksStream)
	links.Sealed = true
	if _, err := js.UpdateStream(ctx, links); err != nil {
		t.Fatalf("sealing a stream: %v", err)
	}
	rooms := store.ConsumerConfig(account)
	rooms.HeadersOnly = true
	if _, err := js.CreateConsumer(ctx, messages.ConversationsStream, rooms); err != nil {
		t.Fatalf("creating a consumer: %v", err)
	}
	findings, err := store.Inspect(ctx, js, store.StreamSettings{LinksMaxAge: time.Hour}, []accounts.Account{{Name: account}})
	if err != nil || len(findings) != 4 {
		t.Fatalf("findings: got %+v and error %v, want 4", findings, err)
	}
	for i, want := range map[int]string{1: "headers_only is true, not false: ", 2: "sealed is true, not false"} {
		if got := findings[i]; got.State != store.Different || !strings.HasPrefix(got.Detail, want) {
			t.Errorf("finding: got %+v, want %q and a detail that begins with %q", got, store.Different, want)
		}
	}
}

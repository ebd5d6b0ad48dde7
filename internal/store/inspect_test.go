package store_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"roomlink/internal/roomlinktest"
	"roomlink/internal/store"
	"roomlink/messages"
)

var allStreams = []string{messages.ConversationsStream, messages.LinksStream, messages.DeadLettersStream}

// inspect inspects everything of an account.
func inspect(t *testing.T, s *store.Store) store.Inspection {
	t.Helper()
	found, err := s.Inspect(roomlinktest.Context(t), allStreams, []string{account})
	if err != nil {
		t.Fatalf("inspecting: %v", err)
	}
	return found
}

// wantFault wants one object to have a fault with some texts, and all others to have none.
func wantFault(t *testing.T, s *store.Store, object string, texts ...string) {
	t.Helper()
	found := inspect(t, s)
	if got := slices.Sorted(maps.Keys(found.Faults)); len(got) != len(allStreams)+1 {
		t.Errorf("inspected: got %q, want the streams and the consumer", got)
	}
	for name, fault := range found.Faults {
		if name != object && fault != "" {
			t.Errorf("%s: got fault %q, want none", name, fault)
		}
	}
	for _, text := range texts {
		if fault := found.Faults[object]; !strings.Contains(fault, text) {
			t.Errorf("%s: got fault %q, want %q in it", object, fault, text)
		}
	}
}

func TestInspectStreams(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		stream string
		change func(*jetstream.StreamConfig)
		// texts are those of the fault. restored means that a new start changes it back.
		texts    []string
		restored bool
	}{
		"what operators may choose": {messages.LinksStream, func(c *jetstream.StreamConfig) {
			c.MaxAge, c.MaxBytes, c.Duplicates, c.Description = time.Hour, 1<<20, time.Minute, "mine"
		}, nil, true},
		"messages per subject": {messages.ConversationsStream, func(c *jetstream.StreamConfig) {
			c.MaxMsgsPerSubject = 5
		}, []string{"max_msgs_per_subject is 5, not 1", "restart"}, true},
		"expiring events": {messages.ConversationsStream, func(c *jetstream.StreamConfig) {
			c.MaxAge = time.Hour
		}, []string{"max_age is 1h0m0s, not 0s", "restart"}, true},
		"discarded events": {messages.ConversationsStream, func(c *jetstream.StreamConfig) {
			c.Discard, c.DiscardNewPerSubject = jetstream.DiscardOld, false
		}, []string{"discard is ", "discard_new_per_subject is false", "restart"}, true},
		"subjects": {messages.LinksStream, func(c *jetstream.StreamConfig) {
			c.Subjects, c.RePublish = []string{"roomlink.links.acme.*"}, nil
		}, []string{"subjects is [roomlink.links.acme.*]", "republish is nothing", "restart"}, true},
		"no direct get": {messages.LinksStream, func(c *jetstream.StreamConfig) {
			c.AllowDirect = false
		}, []string{"allow_direct is false", "restart"}, true},
		"an administrator's own": {messages.LinksStream, func(c *jetstream.StreamConfig) {
			c.Metadata, c.MaxMsgs = nil, 7
		}, []string{"max_msgs is 7", "nats stream edit ROOMLINK_LINKS"}, false},
		"sealed": {messages.DeadLettersStream, func(c *jetstream.StreamConfig) {
			c.Sealed = true
		}, []string{"sealed is true", "delete the stream"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStore(t)
			config := roomlinktest.Stream(t, s, test.stream).CachedInfo().Config
			test.change(&config)
			if _, err := s.JetStream().UpdateStream(roomlinktest.Context(t), config); err != nil {
				t.Fatalf("changing the stream: %v", err)
			}
			wantFault(t, s, test.stream, test.texts...)
			if test.texts == nil {
				wantFault(t, s, "")
			}
			if test.restored {
				if err := store.Provision(roomlinktest.Context(t), s.JetStream(), store.StreamSettings{}); err != nil {
					t.Fatalf("provisioning: %v", err)
				}
				wantFault(t, s, "")
			}
		})
	}
}

func TestInspectConsumers(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*jetstream.ConsumerConfig)
		texts  []string
	}{
		"as its worker makes it": {func(*jetstream.ConsumerConfig) {}, nil},
		"filter":                 {func(c *jetstream.ConsumerConfig) { c.FilterSubject = "" }, []string{"filter_subjects is []"}},
		"deliveries":             {func(c *jetstream.ConsumerConfig) { c.MaxDeliver = 3 }, []string{"max_deliver is 3, not -1"}},
		"acknowledgements":       {func(c *jetstream.ConsumerConfig) { c.AckWait = time.Hour }, []string{"ack_wait is 1h0m0s, not 5s"}},
		"pending":                {func(c *jetstream.ConsumerConfig) { c.MaxAckPending = 10 }, []string{"max_ack_pending is 10, not -1"}},
		"headers":                {func(c *jetstream.ConsumerConfig) { c.HeadersOnly = true }, []string{"headers_only is true"}},
		"backoff": {func(c *jetstream.ConsumerConfig) {
			c.BackOff, c.MaxDeliver = []time.Duration{time.Second, time.Minute}, 5
		}, []string{"backoff", "nats consumer rm ROOMLINK_CONVERSATIONS rooms-acme"}},
		"paused": {func(c *jetstream.ConsumerConfig) {
			until := time.Now().Add(time.Hour)
			c.PauseUntil = &until
		}, []string{"paused", "nats consumer resume ROOMLINK_CONVERSATIONS rooms-acme"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStore(t)
			config := store.ConsumerConfig(account)
			test.change(&config)
			if _, err := s.JetStream().CreateConsumer(roomlinktest.Context(t), messages.ConversationsStream, config); err != nil {
				t.Fatalf("making the consumer: %v", err)
			}
			wantFault(t, s, store.ConsumerName(account), test.texts...)
			if test.texts == nil {
				wantFault(t, s, "")
			}
		})
	}
}

func TestMissingStream(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	if err := s.CheckStream(roomlinktest.Context(t), messages.ConversationsStream); err != nil {
		t.Errorf("a stream that is there: got error %v, want none", err)
	}
	roomlinktest.PublishLinks(t, s, roomlinktest.Links("a", 1), 0)
	if err := s.JetStream().DeleteStream(roomlinktest.Context(t), messages.ConversationsStream); err != nil {
		t.Fatalf("deleting: %v", err)
	}
	if found := inspect(t, s); !slices.Equal(found.Missing, []string{messages.ConversationsStream}) {
		t.Errorf("missing: got %q, want the queue", found.Missing)
	}
	wantFault(t, s, messages.ConversationsStream, "missing")
	if err := s.CheckStream(roomlinktest.Context(t), messages.ConversationsStream); err == nil || !strings.Contains(err.Error(), "is missing") {
		t.Errorf("a missing stream: got error %v, want one that says so", err)
	}
	// Without a queue no event waits, but the links are there.
	if state, err := s.State(roomlinktest.Context(t), roomlinktest.Conversation("a"), roomlinktest.Noon.Time); err != nil || state.Status != store.StatusReady {
		t.Errorf("state: got %q and error %v, want %q", state.Status, err, store.StatusReady)
	}
}

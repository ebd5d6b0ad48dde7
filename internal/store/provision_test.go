package store_test

import (
	"errors"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"roomlink/internal/broker"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/store"
	"roomlink/messages"
)

// bareBroker returns a connection to a broker without streams.
func bareBroker(t *testing.T) jetstream.JetStream {
	t.Helper()
	b, err := broker.Embed(roomlinktest.Context(t), broker.EmbeddedConfig{Dir: t.TempDir(), Sync: time.Minute})
	if err != nil {
		t.Fatalf("starting a broker: %v", err)
	}
	t.Cleanup(b.Close)
	return roomlinktest.Connect(t, b)
}

func provision(t *testing.T, js jetstream.JetStream, settings store.StreamSettings) {
	t.Helper()
	if err := store.Provision(roomlinktest.Context(t), js, settings); err != nil {
		t.Fatalf("provisioning the streams: %v", err)
	}
}

// streamConfig returns the broker's configuration of a stream.
func streamConfig(t *testing.T, js jetstream.JetStream, name string) jetstream.StreamConfig {
	t.Helper()
	stream, err := js.Stream(roomlinktest.Context(t), name)
	if err != nil {
		t.Fatalf("opening stream %q: %v", name, err)
	}
	return stream.CachedInfo().Config
}

// defaultStreams are the streams with the default settings.
var defaultStreams = []jetstream.StreamConfig{{
	Name:                 "ROOMLINK_CONVERSATIONS",
	Subjects:             []string{"roomlink.conversations.*.*"},
	Retention:            jetstream.WorkQueuePolicy,
	Storage:              jetstream.FileStorage,
	Replicas:             1,
	MaxBytes:             1 << 30,
	MaxMsgsPerSubject:    1,
	Discard:              jetstream.DiscardNew,
	DiscardNewPerSubject: true,
	Duplicates:           2 * time.Minute,
	AllowAtomicPublish:   true,
}, {
	Name:               "ROOMLINK_LINKS",
	Subjects:           []string{"roomlink.links.*.*"},
	Retention:          jetstream.LimitsPolicy,
	Storage:            jetstream.FileStorage,
	Replicas:           1,
	MaxBytes:           -1,
	MaxMsgsPerSubject:  1,
	MaxAge:             30 * 24 * time.Hour,
	Duplicates:         2 * time.Minute,
	AllowDirect:        true,
	AllowAtomicPublish: true,
}, {
	Name:              "ROOMLINK_DEAD_LETTERS",
	Subjects:          []string{"roomlink.deadletters.*.*"},
	Retention:         jetstream.LimitsPolicy,
	Storage:           jetstream.FileStorage,
	Replicas:          1,
	MaxBytes:          -1,
	MaxMsgsPerSubject: 1,
	MaxAge:            30 * 24 * time.Hour,
	Duplicates:        2 * time.Minute,
	AllowDirect:       true,
}}

func TestProvisionCreatesTheStreams(t *testing.T) {
	js := bareBroker(t)
	provision(t, js, store.StreamSettings{})
	for _, want := range defaultStreams {
		have := streamConfig(t, js, want.Name)
		if have.Metadata["roomlink"] != "managed" || have.Description == "" || have.MaxMsgs != -1 {
			t.Errorf("stream %q: got metadata %v, description %q and limit of %d messages, want roomlink's mark, some and none",
				want.Name, have.Metadata, have.Description, have.MaxMsgs)
		}
		got := jetstream.StreamConfig{
			Name: have.Name, Subjects: have.Subjects, Retention: have.Retention, Storage: have.Storage,
			Replicas: have.Replicas, MaxBytes: have.MaxBytes, MaxMsgsPerSubject: have.MaxMsgsPerSubject,
			Discard: have.Discard, DiscardNewPerSubject: have.DiscardNewPerSubject,
			MaxAge: have.MaxAge, Duplicates: have.Duplicates,
			AllowDirect: have.AllowDirect, AllowAtomicPublish: have.AllowAtomicPublish,
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("stream %q: got %+v, want %+v", want.Name, got, want)
		}
	}
}

func TestProvisionTwiceChangesNothing(t *testing.T) {
	js := bareBroker(t)
	provision(t, js, store.StreamSettings{})
	updates := streamsUpdated(t, js)
	provision(t, js, store.StreamSettings{})
	provision(t, js, store.StreamSettings{Replicas: 1, MaxBytes: store.DefaultMaxBytes})
	if got := updates(); got != 0 {
		t.Errorf("updates: got %d, want 0", got)
	}
}

// streamsUpdated returns a function that counts the requests to update a stream from now
// on.
func streamsUpdated(t *testing.T, js jetstream.JetStream) (count func() int) {
	t.Helper()
	subscription, err := js.Conn().SubscribeSync("$JS.API.STREAM.UPDATE.*")
	if err != nil {
		t.Fatalf("subscribing to updates: %v", err)
	}
	return func() int {
		if err := js.Conn().FlushWithContext(roomlinktest.Context(t)); err != nil {
			t.Fatalf("waiting for updates: %v", err)
		}
		pending, _, err := subscription.Pending()
		if err != nil {
			t.Fatalf("counting updates: %v", err)
		}
		return pending
	}
}

func TestProvisionFromManyProcesses(t *testing.T) {
	js, ctx := bareBroker(t), roomlinktest.Context(t)
	errs := make([]error, 8)
	var group sync.WaitGroup
	for i := range errs {
		settings := store.StreamSettings{}
		if i%2 == 1 {
			settings = store.StreamSettings{MaxBytes: 1 << 20, LinksMaxAge: time.Hour}
		}
		group.Go(func() { errs[i] = store.Provision(ctx, js, settings) })
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatalf("provisioning the streams: got error %v, want none", err)
	}
	// The processes without the setting must not undo it.
	if got := streamConfig(t, js, messages.ConversationsStream).MaxBytes; got != 1<<20 {
		t.Errorf("max bytes: got %d, want %d", got, 1<<20)
	}
}

func TestProvisionUpdatesAManagedStream(t *testing.T) {
	js := bareBroker(t)
	provision(t, js, store.StreamSettings{})
	if letters := streamConfig(t, js, messages.DeadLettersStream); letters.MaxAge != 30*24*time.Hour {
		t.Errorf("age of dead letters: got %v, want 30 days", letters.MaxAge)
	}
	settings := store.StreamSettings{
		MaxBytes: 1 << 20, DuplicateWindow: 10 * time.Minute, LinksMaxAge: time.Minute, DeadLettersMaxAge: time.Hour,
	}
	updates := streamsUpdated(t, js)
	provision(t, js, settings)
	if got := updates(); got != 3 {
		t.Errorf("updates: got %d, want 3", got)
	}
	wantSettings(t, js, settings)
	// Zero settings change nothing.
	provision(t, js, store.StreamSettings{})
	wantSettings(t, js, settings)
}

func wantSettings(t *testing.T, js jetstream.JetStream, want store.StreamSettings) {
	t.Helper()
	queue, links := streamConfig(t, js, messages.ConversationsStream), streamConfig(t, js, messages.LinksStream)
	got := store.StreamSettings{
		MaxBytes: queue.MaxBytes, DuplicateWindow: queue.Duplicates, LinksMaxAge: links.MaxAge,
		DeadLettersMaxAge: streamConfig(t, js, messages.DeadLettersStream).MaxAge,
	}
	if got != want {
		t.Errorf("settings: got %+v, want %+v", got, want)
	}
}

func TestProvisionRestoresAManagedStream(t *testing.T) {
	js := bareBroker(t)
	provision(t, js, store.StreamSettings{})
	config := streamConfig(t, js, messages.LinksStream)
	config.Description, config.AllowDirect, config.MaxMsgsPerSubject, config.MaxBytes = "mine", false, 5, 1<<20
	if _, err := js.UpdateStream(roomlinktest.Context(t), config); err != nil {
		t.Fatalf("updating the stream: %v", err)
	}
	provision(t, js, store.StreamSettings{})
	got := streamConfig(t, js, messages.LinksStream)
	if !got.AllowDirect || got.MaxMsgsPerSubject != 1 || got.Description == "mine" {
		t.Errorf("stream: got direct get %t, %d messages per subject and description %q, want true, 1 and roomlink's own",
			got.AllowDirect, got.MaxMsgsPerSubject, got.Description)
	}
	if got.MaxBytes != 1<<20 {
		t.Errorf("max bytes: got %d, want the operator's %d", got.MaxBytes, 1<<20)
	}
}

func TestProvisionLeavesAnAdministratorsStreamAlone(t *testing.T) {
	js := bareBroker(t)
	own := jetstream.StreamConfig{
		Name: messages.LinksStream, Subjects: []string{"roomlink.links.*.*"}, MaxAge: time.Hour,
		Storage: jetstream.MemoryStorage, Description: "mine",
	}
	if _, err := js.CreateStream(roomlinktest.Context(t), own); err != nil {
		t.Fatalf("creating a stream: %v", err)
	}
	want := streamConfig(t, js, messages.LinksStream)
	provision(t, js, store.StreamSettings{LinksMaxAge: 2 * time.Hour})
	if got := streamConfig(t, js, messages.LinksStream); !reflect.DeepEqual(got, want) {
		t.Errorf("stream: got %+v, want %+v", got, want)
	}
	if got := streamConfig(t, js, messages.ConversationsStream); got.Metadata["roomlink"] != "managed" {
		t.Errorf("the other stream: got metadata %v, want roomlink's mark", got.Metadata)
	}
}

func TestProvisionConsumer(t *testing.T) {
	js := bareBroker(t)
	provision(t, js, store.StreamSettings{})
	for range 2 {
		consumer, err := store.ProvisionConsumer(roomlinktest.Context(t), js, account)
		if err != nil {
			t.Fatalf("providing the consumer: %v", err)
		}
		have := consumer.CachedInfo().Config
		got := jetstream.ConsumerConfig{
			Durable: have.Durable, FilterSubject: have.FilterSubject, AckPolicy: have.AckPolicy,
			AckWait: have.AckWait, MaxDeliver: have.MaxDeliver, MaxAckPending: have.MaxAckPending,
			DeliverPolicy: have.DeliverPolicy, BackOff: have.BackOff, InactiveThreshold: have.InactiveThreshold,
		}
		want := jetstream.ConsumerConfig{
			Durable: "rooms-acme", FilterSubject: "roomlink.conversations.acme.*",
			AckPolicy: jetstream.AckExplicitPolicy, AckWait: 5 * time.Second, MaxDeliver: -1, MaxAckPending: -1,
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("consumer: got %+v, want %+v", got, want)
		}
	}
	if _, err := store.ProvisionConsumer(roomlinktest.Context(t), js, "other"); err != nil {
		t.Errorf("another account's consumer: got error %v, want none", err)
	}
}

func TestProvisionConsumerWithoutStreams(t *testing.T) {
	_, err := store.ProvisionConsumer(roomlinktest.Context(t), bareBroker(t), account)
	if !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("providing the consumer: got error %v, want %v", err, jetstream.ErrStreamNotFound)
	}
}

// A work queue may have several consumers if their filters do not overlap.
func TestConsumersGetOnlyTheirAccountsEvents(t *testing.T) {
	s := newStore(t)
	other := roomlinktest.Started("b")
	other.Data.Account = "other"
	roomlinktest.Publish(t, s, other)
	roomlinktest.Publish(t, s, roomlinktest.Started("a"))
	if got, want := roomlinktest.SettleNext(t, s).Subject(), roomlinktest.Conversation("a").EventSubject(); got != want {
		t.Errorf("subject: got %q, want %q", got, want)
	}
	wantMessages(t, s, messages.ConversationsStream, 1)
}

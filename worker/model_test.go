package worker_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"pgregory.net/rapid"

	"roomlink/internal/accounts"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/store"
	"roomlink/messages"
	"roomlink/worker"
	"roomlink/worker/auvious"
)

const (
	// modelLanes run at once, as most of their time is waiting.
	modelLanes = 6
	// modelChecks is how many histories a lane tries, unless the flag rapid.checks
	// says so.
	modelChecks = 18
	// modelAckWait is shorter than the signs of life are apart: what is held longer
	// is delivered to somebody else besides.
	modelAckWait = 300 * time.Millisecond
	// modelSpeed is how many times faster the broker's delays pass.
	modelSpeed = 200
	// modelTick is how often a history looks whether it may go on. Looking without a
	// pause would take the processors from what it waits for.
	modelTick = 5 * time.Millisecond
	// modelEnd is how long what waits may wait after all trouble has ended.
	modelEnd = 30 * time.Second
)

// fate is how a call of the facade ends.
type fate string

// The fates of a call: every row of the table, and one that takes until somebody
// lets it go on.
const (
	makesRoom     fate = "makes a room"
	isRejected    fate = "rejected"
	isBadAnswer   fate = "bad answer"
	isNotDone     fate = "not done"
	isNotLetIn    fate = "not let in"
	losesAnswer   fate = "makes a room and loses the answer"
	losesRequest  fate = "loses the request"
	isHeld        fate = "is held, and makes a room"
	isHeldInVain  fate = "is held, and rejected"
	isHeldUnknown fate = "is held, and loses the answer"
)

// deed is a step of a history.
type deed struct {
	// What is started, duplicated, renewed, replayed, released, awaited or crashed.
	What string
	// Of is the conversation, or the worker that crashes.
	Of int
}

// plan is a history before it happens.
type plan struct {
	Concurrency    int
	UnknownRetries int
	// GivesUp at the first failure that could be tried again.
	GivesUp bool
	// Fates of the calls for each conversation; those after them make rooms.
	Fates [][]fate
	// LostAcks and LostPubAcks say which of the first ones do not arrive: of
	// events, and of what the workers store.
	LostAcks, LostPubAcks []bool
	Deeds                 []deed
}

// plans are all histories. Those of which two calls or two workers meet are many.
var plans = rapid.Custom(func(t *rapid.T) plan {
	fates := rapid.SampledFrom([]fate{
		makesRoom, makesRoom, isRejected, isBadAnswer, isNotDone, isNotDone, losesAnswer, losesAnswer, losesRequest,
		isHeld, isHeld, isHeld, isHeldInVain, isHeldInVain, isHeldUnknown, isNotLetIn,
	})
	what := rapid.SampledFrom([]string{
		"start", "start", "start", "duplicate", "renew", "renew", "replay", "replay", "release", "await", "await", "await",
		"hold on", "crash",
	})
	losses := rapid.SliceOfN(rapid.SampledFrom([]bool{false, false, true}), 0, 8)
	conversations := rapid.IntRange(1, 3).Draw(t, "conversations")
	return plan{
		Concurrency:    rapid.IntRange(1, 4).Draw(t, "concurrency"),
		UnknownRetries: rapid.IntRange(0, 2).Draw(t, "unknown retries"),
		GivesUp:        rapid.IntRange(0, 3).Draw(t, "gives up") == 3,
		Fates: rapid.SliceOfN(rapid.SliceOfN(fates, 0, 5), conversations, conversations).
			Draw(t, "fates"),
		LostAcks:    losses.Draw(t, "lost acks"),
		LostPubAcks: losses.Draw(t, "lost pub acks"),
		Deeds: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) deed {
			return deed{what.Draw(t, "what"), rapid.IntRange(0, conversations-1).Draw(t, "of")}
		}), 3, 14).Draw(t, "deeds"),
	}
})

// TestModel runs the real worker, twice, on the real broker through histories that
// nobody would think of: calls that end in every way, crashes, lost
// acknowledgements, duplicates, renewals and replays. Whatever happens, every
// event that was accepted ends in exactly one set of links for its generation or
// in one dead letter, and nothing waits for ever.
func TestModel(t *testing.T) {
	t.Parallel()
	roomlinktest.SkipIfShort(t, "it runs many histories")
	boundChecks(t)
	h := newHouse(t)
	var number atomic.Int64
	for lane := range modelLanes {
		t.Run(fmt.Sprintf("lane %d", lane), func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(rt *rapid.T) {
				p := plans.Draw(rt, "plan")
				w := newWorld(t, rt, h, fmt.Sprintf("model-%d", number.Add(1)), p)
				for _, d := range p.Deeds {
					w.do(d)
				}
				w.end()
				w.judge()
			})
		})
	}
}

// boundChecks sets what rapid's flags say, unless the command line does.
func boundChecks(t *testing.T) {
	t.Helper()
	given := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { given[f.Name] = true })
	for name, value := range map[string]string{
		"rapid.checks": strconv.Itoa(modelChecks), "rapid.nofailfile": "true", "rapid.shrinktime": "10s",
	} {
		if !given[name] {
			if err := flag.Set(name, value); err != nil {
				t.Fatalf("setting %s: %v", name, err)
			}
		}
	}
}

// world is a history while it happens.
type world struct {
	t       *rapid.T
	house   *house
	account string
	plan    plan
	workers [2]*mortal
	// onEnd runs something when all histories have ended.
	onEnd      func(func())
	registries []*prometheus.Registry

	mu      sync.Mutex
	journal []string
	fates   [][]fate
	// held is closed to let calls go on, and then another one.
	held chan struct{}
	// rooms that were made for each conversation.
	rooms map[string]int
	// sets of links by their sequence, as they were stored.
	sets              map[uint64]messages.Event[messages.Links]
	lostAcks, lostPub []bool
	// wanted are the generations of each conversation whose events were accepted.
	wanted map[string]int
}

func newWorld(tb testing.TB, rt *rapid.T, h *house, account string, p plan) *world {
	tb.Helper()
	w := &world{
		t: rt, house: h, account: account, plan: p, onEnd: tb.Cleanup,
		held: make(chan struct{}), rooms: map[string]int{}, sets: map[uint64]messages.Event[messages.Links]{},
		lostAcks: p.LostAcks, lostPub: p.LostPubAcks, wanted: map[string]int{},
	}
	for _, fates := range p.Fates {
		w.fates = append(w.fates, slices.Clone(fates))
	}
	for i := range w.workers {
		w.workers[i] = w.employ()
	}
	rt.Cleanup(func() {
		w.release()
		for _, m := range w.workers {
			m.conn.Close()
			m.stop()
		}
		// The broker has no limit of consumers, but a thousand take their time.
		ctx, cancel := context.WithTimeout(context.Background(), modelEnd)
		defer cancel()
		err := h.store.JetStream().DeleteConsumer(ctx, messages.ConversationsStream, store.ConsumerName(account))
		if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			tb.Errorf("deleting a consumer: %v", err)
		}
	})
	return w
}

var _ io.Writer = (*world)(nil)

// mortal is a worker with a connection that can be torn off.
type mortal struct {
	conn *nats.Conn
	stop context.CancelFunc
}

// employ starts a worker.
func (w *world) employ() *mortal {
	js, err := w.house.broker.Connect("model")
	for range 3 {
		if err == nil {
			break
		}
		// A server that is busy may send its first PING into the greeting.
		js, err = w.house.broker.Connect("model")
	}
	if err != nil {
		w.t.Fatalf("connecting: %v", err)
	}
	registry := prometheus.NewRegistry()
	w.registries = append(w.registries, registry)
	giveUp := time.Hour
	if w.plan.GivesUp {
		giveUp = time.Nanosecond
	}
	made, err := worker.New(worker.Config{
		Store: store.New(unreliable{js, w}), Grace: time.Nanosecond, Registerer: registry,
		Logger: zerolog.New(w).Level(zerolog.WarnLevel),
		Accounts: []worker.Account{configured(w.account, facade(w.createRoom),
			concurrency(w.plan.Concurrency), unknownRetries(w.plan.UnknownRetries),
			func(rooms *accounts.Rooms) { rooms.GiveUpAfter = giveUp })},
	})
	if err != nil {
		w.t.Fatalf("making a worker: %v", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- made.Run(ctx) }()
	w.onEnd(func() {
		stop()
		<-done
		js.Conn().Close()
	})
	return &mortal{js.Conn(), stop}
}

// Write implements [io.Writer], for what the workers log.
func (w *world) Write(line []byte) (int, error) {
	w.notef("%s", bytes.TrimSpace(line))
	return len(line), nil
}

// notef writes down what happened.
func (w *world) notef(format string, v ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.journal = append(w.journal, fmt.Sprintf(format, v...))
}

// createRoom is the facade.
func (w *world) createRoom(ctx context.Context, request auvious.RoomRequest) (auvious.Room, error) {
	how, held := w.nextFate(request.InteractionID)
	w.notef("call for %s: %s", request.InteractionID, how)
	switch how {
	case isHeld, isHeldInVain, isHeldUnknown:
		select {
		case <-held:
		case <-ctx.Done():
			w.made(request.InteractionID) // it was sent, and nobody hears of it
			return auvious.Room{}, &auvious.CallError{Kind: auvious.ErrUnknownOutcome}
		}
		w.notef("call for %s goes on: %s", request.InteractionID, how)
	default:
	}
	kind, fails := map[fate]auvious.Kind{
		isRejected: auvious.ErrRejected, isHeldInVain: auvious.ErrRejected, isBadAnswer: auvious.ErrBadAnswer,
		isNotDone: auvious.ErrNotDone, isNotLetIn: auvious.ErrAccount, losesAnswer: auvious.ErrUnknownOutcome,
		isHeldUnknown: auvious.ErrUnknownOutcome, losesRequest: auvious.ErrUnknownOutcome,
	}[how]
	if !fails || how == losesAnswer || how == isHeldUnknown {
		w.made(request.InteractionID)
	}
	if fails {
		return auvious.Room{}, &auvious.CallError{Kind: kind, Detail: "invented"}
	}
	return roomOf(request), nil
}

func (w *world) nextFate(id string) (fate, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.fates {
		if id == w.id(i) && len(w.fates[i]) > 0 {
			how := w.fates[i][0]
			w.fates[i] = w.fates[i][1:]
			return how, w.held
		}
	}
	return makesRoom, nil
}

func (w *world) made(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rooms[id]++
}

// id of a conversation.
func (w *world) id(of int) string { return fmt.Sprintf("call-%d", of) }

func (w *world) conversation(of int) messages.Conversation {
	return messages.Conversation{Account: w.account, InteractionID: w.id(of)}
}

// event that starts a conversation.
func (w *world) event(of int) messages.Event[messages.Started] {
	event := roomlinktest.Started(w.id(of))
	event.Data.Account = w.account
	return event
}

// do does a deed. What the broker refuses is not done.
func (w *world) do(d deed) {
	ctx, cancel := context.WithTimeout(context.Background(), modelEnd)
	defer cancel()
	w.notef("%s %d", d.What, d.Of)
	var err error
	switch d.What {
	case "start":
		_, err = w.house.store.Publish(ctx, w.event(d.Of))
		w.accepted(d.Of, 1, err)
	case "duplicate":
		err = w.duplicate(ctx, d.Of)
	case "renew":
		err = w.renew(ctx, d.Of)
	case "replay":
		err = w.replay(ctx, d.Of)
	case "release":
		w.release()
	case "await":
		w.release()
		err = w.await(ctx, w.conversation(d.Of).EventSubject())
	case "hold on": // as long as the broker holds on to a delivery
		pauseFor(modelAckWait + modelAckWait/2)
	case "crash":
		i := d.Of % len(w.workers)
		w.workers[i].conn.Close()
		w.workers[i].stop()
		w.workers[i] = w.employ()
	}
	if err != nil {
		w.t.Fatalf("%s %d: %v\n%s", d.What, d.Of, err, w.story())
	}
}

// pauseFor lets time pass: it is what the history is about.
func pauseFor(d time.Duration) { <-time.After(d) }

func (w *world) accepted(of, generation int, err error) {
	if err == nil {
		w.wanted[w.id(of)] = max(w.wanted[w.id(of)], generation)
	}
}

// duplicate publishes the first event of a conversation with an id that the broker
// does not know, as one that comes after the duplicate window.
func (w *world) duplicate(ctx context.Context, of int) error {
	data, err := w.event(of).Encode()
	if err != nil {
		return err
	}
	_, err = w.house.store.JetStream().Publish(ctx, w.conversation(of).EventSubject(), data)
	if _, refused := errors.AsType[*jetstream.APIError](err); refused {
		return nil // one waits already
	}
	w.accepted(of, 1, err)
	return err
}

func (w *world) renew(ctx context.Context, of int) error {
	known, err := w.house.store.Snapshot(ctx, w.conversation(of))
	if err != nil || known.Links == nil {
		return err
	}
	outcome, err := w.house.store.PublishAfter(ctx, w.event(of), known)
	if errors.Is(err, store.ErrWaiting) {
		return nil
	}
	if outcome == store.Accepted { // a duplicate may be of another generation that waits
		w.accepted(of, known.Generation()+1, err)
	}
	return err
}

func (w *world) replay(ctx context.Context, of int) error {
	if !replaysTellDeadEvents {
		if err := w.await(ctx, w.conversation(of).EventSubject()); err != nil {
			return err
		}
	}
	letter, err := w.house.store.DeadLetter(ctx, w.conversation(of), store.Leader)
	if errors.Is(err, messages.ErrNotFound) {
		return nil
	}
	if err == nil {
		_, err = w.house.store.Replay(ctx, letter)
	}
	if errors.Is(err, store.ErrWaiting) {
		return nil
	}
	return err
}

// release lets all calls go on that are held.
func (w *world) release() {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.held)
	w.held = make(chan struct{})
}

// await waits until no event waits on a subject, and holds up no call meanwhile.
func (w *world) await(ctx context.Context, subject string) error {
	for {
		w.release()
		stream, err := w.house.store.JetStream().Stream(ctx, messages.ConversationsStream)
		if err != nil {
			return err
		}
		info, err := stream.Info(ctx, jetstream.WithSubjectFilter(subject))
		if err != nil {
			return fmt.Errorf("waiting for an event that waits for ever: %w", err)
		}
		if len(info.State.Subjects) == 0 {
			return nil
		}
		pauseFor(modelTick)
	}
}

// end ends all trouble, and waits until nothing waits any more.
func (w *world) end() {
	w.mu.Lock()
	w.fates, w.lostAcks, w.lostPub = nil, nil, nil
	w.mu.Unlock()
	w.notef("all is well")
	ctx, cancel := context.WithTimeout(context.Background(), modelEnd)
	defer cancel()
	if err := w.await(ctx, "roomlink.conversations."+w.account+".*"); err != nil {
		w.t.Fatalf("%v\n%s", err, w.story())
	}
	// An event that was delivered twice may be done with once, and in work still.
	for w.sum("roomlink_events_in_flight") > 0 {
		w.release()
		pauseFor(modelTick)
		if ctx.Err() != nil {
			w.t.Fatalf("waiting for work that goes on for ever: %v\n%s", ctx.Err(), w.story())
		}
	}
}

// judge holds the history to the promise.
func (w *world) judge() {
	for of := range w.plan.Fates {
		if problem := w.problemOf(of); problem != "" {
			w.t.Errorf("%s: %s\n%s", w.id(of), problem, w.story())
		}
	}
	rooms := 0
	for _, made := range w.rooms {
		rooms += made
	}
	if orphans := w.sum("roomlink_orphans_possible_total"); rooms-len(w.sets) > orphans {
		w.t.Errorf("got %d rooms and %d sets of links with %d possible orphans, want no room that is not counted\n%s",
			rooms, len(w.sets), orphans, w.story())
	}
}

// sum adds a metric up over all workers, those that crashed included.
func (w *world) sum(metric string) int {
	sum := 0.0
	for _, registry := range w.registries {
		r := running{house: w.house, registry: registry}
		sum += r.metric(metric)
	}
	return int(sum)
}

// problemOf says what is wrong with a conversation; "" if nothing.
func (w *world) problemOf(of int) string {
	ctx, cancel := context.WithTimeout(context.Background(), modelEnd)
	defer cancel()
	latest, err := w.house.store.Snapshot(ctx, w.conversation(of))
	if err != nil {
		return err.Error()
	}
	buried := 0
	if latest.DeadLetter != nil {
		original, err := latest.DeadLetter.Data.Started()
		if err != nil {
			return err.Error()
		}
		buried = original.Data.Generation()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	sets := map[int]int{}
	for _, set := range w.sets {
		if set.Data.InteractionID == w.id(of) {
			sets[set.Data.Generation]++
		}
	}
	wanted := w.wanted[w.id(of)]
	for generation, count := range sets {
		if count > 1 || generation > wanted {
			return fmt.Sprintf("got %d sets of links for generation %d, want at most 1, and none after %d", count, generation, wanted)
		}
	}
	switch {
	case max(latest.Generation(), buried) != wanted:
		return fmt.Sprintf("got links of generation %d and a dead letter of %d, want one of the two of %d", latest.Generation(), buried, wanted)
	case buried > 0 && buried <= latest.Generation() && deadLettersAreTakenBack:
		return fmt.Sprintf("got a dead letter of generation %d beside links of %d, want none", buried, latest.Generation())
	}
	return ""
}

// story is what happened, for whoever has to understand it.
func (w *world) story() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.journal, "\n")
}

// loses reports whether the next acknowledgement of a list does not arrive.
func (w *world) loses(list *[]bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(*list) == 0 {
		return false
	}
	lost := (*list)[0]
	*list = (*list)[1:]
	return lost
}

// unreliable is a worker's connection. It loses acknowledgements, lets time pass
// faster, and keeps a record of what was stored.
type unreliable struct {
	jetstream.JetStream
	world *world
}

// PublishMsg implements [jetstream.JetStream].
func (u unreliable) PublishMsg(ctx context.Context, msg *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	ack, err := u.JetStream.PublishMsg(ctx, msg, opts...)
	if err != nil {
		return ack, err
	}
	u.world.notef("stored on %s at %d", msg.Subject, ack.Sequence)
	if links, err := messages.Decode[messages.Links](msg.Data); err == nil {
		u.world.mu.Lock()
		u.world.sets[ack.Sequence] = links
		u.world.mu.Unlock()
	}
	if u.world.loses(&u.world.lostPub) {
		u.world.notef("the acknowledgement of %s at %d is lost", msg.Subject, ack.Sequence)
		return nil, nats.ErrTimeout
	}
	return ack, nil
}

// CreateOrUpdateConsumer implements [jetstream.JetStream].
func (u unreliable) CreateOrUpdateConsumer(
	ctx context.Context, stream string, config jetstream.ConsumerConfig,
) (jetstream.Consumer, error) {
	config.AckWait = modelAckWait
	consumer, err := u.JetStream.CreateOrUpdateConsumer(ctx, stream, config)
	return unreliableConsumer{consumer, u.world}, err
}

type unreliableConsumer struct {
	jetstream.Consumer
	world *world
}

// Fetch implements [jetstream.Consumer].
func (u unreliableConsumer) Fetch(count int, opts ...jetstream.FetchOpt) (jetstream.MessageBatch, error) {
	batch, err := u.Consumer.Fetch(count, opts...)
	return unreliableBatch{batch, u.world}, err
}

type unreliableBatch struct {
	jetstream.MessageBatch
	world *world
}

// Messages implements [jetstream.MessageBatch].
func (u unreliableBatch) Messages() <-chan jetstream.Msg {
	out := make(chan jetstream.Msg)
	go func() {
		defer close(out)
		for msg := range u.MessageBatch.Messages() {
			out <- unreliableMsg{msg, u.world}
		}
	}()
	return out
}

type unreliableMsg struct {
	jetstream.Msg
	world *world
}

// Ack implements [jetstream.Msg].
func (u unreliableMsg) Ack() error { return u.settle("ack", u.Msg.Ack) }

// Nak implements [jetstream.Msg].
func (u unreliableMsg) Nak() error { return u.settle("nak", u.Msg.Nak) }

// NakWithDelay implements [jetstream.Msg].
func (u unreliableMsg) NakWithDelay(delay time.Duration) error {
	return u.settle("nak", func() error { return u.Msg.NakWithDelay(delay / modelSpeed) })
}

// TermWithReason implements [jetstream.Msg].
func (u unreliableMsg) TermWithReason(reason string) error {
	return u.settle("term", func() error { return u.Msg.TermWithReason(reason) })
}

func (u unreliableMsg) settle(how string, send func() error) error {
	lost := u.world.loses(&u.world.lostAcks)
	u.world.notef("%s of %s, lost: %v", how, u.Subject(), lost)
	if lost {
		return nil
	}
	return send()
}

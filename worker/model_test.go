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
	"roomlink/internal/broker"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/store"
	"roomlink/messages"
	"roomlink/worker"
	"roomlink/worker/auvious"
)

const (
	// modelLanes is the number of histories that run at once. They mostly wait.
	modelLanes = 6
	// modelChecks is the number of histories of a lane, unless the flag rapid.checks sets it.
	modelChecks = 18
	// modelAckWait is shorter than the interval of the keepalive. So the broker delivers a long-held event a second time.
	modelAckWait = 300 * time.Millisecond
	// modelSpeed divides the delays of retries.
	modelSpeed = 200
	// modelTick is the interval between two checks of a condition. Without it, the checks would occupy the processors.
	modelTick = 5 * time.Millisecond
	// modelTimeout bounds every wait.
	modelTimeout = 30 * time.Second
)

// ending is how a call of the facade ends.
type ending string

// The endings of a call. A held call waits until the history releases it.
const (
	makesRoom      ending = "makes a room"
	isRejected     ending = "rejected"
	isBadAnswer    ending = "bad answer"
	isNotDone      ending = "not done"
	refusesAccount ending = "refuses the account"
	losesAnswer    ending = "makes a room and loses the answer"
	losesRequest   ending = "loses the request"
	isHeld         ending = "is held, then makes a room"
	isHeldRejected ending = "is held, then rejected"
	isHeldUnknown  ending = "is held, then makes a room and loses the answer"
)

// step is a step of a history.
type step struct {
	// Name says what happens.
	Name string
	// Of is the number of the conversation, or of the worker that crashes.
	Of int
}

// plan is the plan of a history.
type plan struct {
	Concurrency    int
	UnknownRetries int
	// GivesUp makes the give-up time so short that no failed call is retried.
	GivesUp bool
	// Endings are those of the first calls for each conversation. Later calls make rooms.
	Endings [][]ending
	// LostAcks and LostPubAcks say which of the first acknowledgements are lost: those of events, and those of what the
	// workers store.
	LostAcks, LostPubAcks []bool
	Steps                 []step
}

// plans generates plans. Concurrent calls and workers are frequent in them.
var plans = rapid.Custom(func(t *rapid.T) plan {
	endings := rapid.SampledFrom([]ending{
		makesRoom, makesRoom, isRejected, isBadAnswer, isNotDone, isNotDone, losesAnswer, losesAnswer, losesRequest,
		isHeld, isHeld, isHeld, isHeldRejected, isHeldRejected, isHeldUnknown, refusesAccount,
	})
	names := rapid.SampledFrom([]string{
		"start", "start", "start", "duplicate", "renew", "renew", "replay", "replay", "release", "await", "await", "await",
		"hold on", "crash",
	})
	losses := rapid.SliceOfN(rapid.SampledFrom([]bool{false, false, true}), 0, 8)
	conversations := rapid.IntRange(1, 3).Draw(t, "conversations")
	return plan{
		Concurrency:    rapid.IntRange(1, 4).Draw(t, "concurrency"),
		UnknownRetries: rapid.IntRange(0, 2).Draw(t, "unknown retries"),
		GivesUp:        rapid.IntRange(0, 3).Draw(t, "gives up") == 3,
		Endings: rapid.SliceOfN(rapid.SliceOfN(endings, 0, 5), conversations, conversations).
			Draw(t, "endings"),
		LostAcks:    losses.Draw(t, "lost acks"),
		LostPubAcks: losses.Draw(t, "lost pub acks"),
		Steps: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
			return step{names.Draw(t, "name"), rapid.IntRange(0, conversations-1).Draw(t, "of")}
		}), 3, 14).Draw(t, "steps"),
	}
})

// TestModel runs two real workers on the real broker through random histories: calls that end in every way, crashes, lost
// acknowledgements, duplicates, renewals and replays. In every history, each accepted event ends in exactly one set of
// links for its generation or in one dead letter, and no event waits for ever.
func TestModel(t *testing.T) {
	t.Parallel()
	roomlinktest.SkipIfShort(t, "it runs many histories")
	boundChecks(t)
	h := newHarness(t)
	var number atomic.Int64
	for lane := range modelLanes {
		t.Run(fmt.Sprintf("lane %d", lane), func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(rt *rapid.T) {
				p := plans.Draw(rt, "plan")
				hist := newHistory(t, rt, h, fmt.Sprintf("model-%d", number.Add(1)), p)
				for _, s := range p.Steps {
					hist.do(s)
				}
				hist.finish()
				hist.check()
			})
		})
	}
}

// boundChecks sets the flags of rapid, unless the command line sets them.
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

// history is a history that runs.
type history struct {
	t       *rapid.T
	harness *harness
	account string
	plan    plan
	workers [2]*instance
	// onEnd registers a function that runs after all histories.
	onEnd      func(func())
	registries []*prometheus.Registry

	mu      sync.Mutex
	journal []string
	endings [][]ending
	// held is closed to release the held calls, and then replaced.
	held chan struct{}
	// rooms is the number of rooms of each conversation.
	rooms map[string]int
	// sets are the stored links by their sequence.
	sets              map[uint64]messages.Event[messages.Links]
	lostAcks, lostPub []bool
	// wanted is the last generation of each conversation that an accepted event asked for.
	wanted map[string]int
}

func newHistory(tb testing.TB, rt *rapid.T, h *harness, account string, p plan) *history {
	tb.Helper()
	hist := &history{
		t: rt, harness: h, account: account, plan: p, onEnd: tb.Cleanup,
		held: make(chan struct{}), rooms: map[string]int{}, sets: map[uint64]messages.Event[messages.Links]{},
		lostAcks: p.LostAcks, lostPub: p.LostPubAcks, wanted: map[string]int{},
	}
	for _, endings := range p.Endings {
		hist.endings = append(hist.endings, slices.Clone(endings))
	}
	for i := range hist.workers {
		hist.workers[i] = hist.startWorker()
	}
	rt.Cleanup(func() {
		hist.release()
		for _, m := range hist.workers {
			m.conn.Close()
			m.stop()
		}
		// A thousand consumers would slow the broker down.
		ctx, cancel := context.WithTimeout(context.Background(), modelTimeout)
		defer cancel()
		err := h.store.JetStream().DeleteConsumer(ctx, messages.ConversationsStream, store.ConsumerName(account))
		if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			tb.Errorf("deleting a consumer: %v", err)
		}
	})
	return hist
}

var _ io.Writer = (*history)(nil)

// instance is a running worker. A crash closes its connection.
type instance struct {
	conn *nats.Conn
	stop context.CancelFunc
}

// startWorker starts a worker.
func (hist *history) startWorker() *instance {
	js, err := hist.harness.broker.Connect(broker.RoleProvisioner, "model")
	for range 3 {
		if err == nil {
			break
		}
		// A busy server may send its first PING during the handshake.
		js, err = hist.harness.broker.Connect(broker.RoleProvisioner, "model")
	}
	if err != nil {
		hist.t.Fatalf("connecting: %v", err)
	}
	registry := prometheus.NewRegistry()
	hist.registries = append(hist.registries, registry)
	giveUp := time.Hour
	if hist.plan.GivesUp {
		giveUp = time.Nanosecond
	}
	made, err := worker.New(worker.Config{
		Store: store.New(unreliable{js, hist}), Grace: time.Nanosecond, Registerer: registry,
		Logger: zerolog.New(hist).Level(zerolog.WarnLevel),
		Accounts: []worker.Account{configured(hist.account, facade(hist.createRoom),
			concurrency(hist.plan.Concurrency), unknownRetries(hist.plan.UnknownRetries),
			func(rooms *accounts.Rooms) { rooms.GiveUpAfter = giveUp })},
	})
	if err != nil {
		hist.t.Fatalf("making a worker: %v", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- made.Run(ctx) }()
	hist.onEnd(func() {
		stop()
		<-done
		js.Conn().Close()
	})
	return &instance{js.Conn(), stop}
}

// Write implements [io.Writer] for the log of the workers.
func (hist *history) Write(line []byte) (int, error) {
	hist.notef("%s", bytes.TrimSpace(line))
	return len(line), nil
}

// notef adds a line to the journal.
func (hist *history) notef(format string, v ...any) {
	hist.mu.Lock()
	defer hist.mu.Unlock()
	hist.journal = append(hist.journal, fmt.Sprintf(format, v...))
}

// createRoom is the facade.
func (hist *history) createRoom(ctx context.Context, request auvious.RoomRequest) (auvious.Room, error) {
	how, held := hist.nextEnding(request.InteractionID)
	hist.notef("call for %s: %s", request.InteractionID, how)
	switch how {
	case isHeld, isHeldRejected, isHeldUnknown:
		select {
		case <-held:
		case <-ctx.Done():
			hist.made(request.InteractionID) // the call was sent, and its answer is lost
			return auvious.Room{}, &auvious.CallError{Kind: auvious.ErrUnknownOutcome}
		}
		hist.notef("call for %s released: %s", request.InteractionID, how)
	default:
	}
	kind, fails := map[ending]auvious.Kind{
		isRejected: auvious.ErrRejected, isHeldRejected: auvious.ErrRejected, isBadAnswer: auvious.ErrBadAnswer,
		isNotDone: auvious.ErrNotDone, refusesAccount: auvious.ErrAccount, losesAnswer: auvious.ErrUnknownOutcome,
		isHeldUnknown: auvious.ErrUnknownOutcome, losesRequest: auvious.ErrUnknownOutcome,
	}[how]
	if !fails || how == losesAnswer || how == isHeldUnknown {
		hist.made(request.InteractionID)
	}
	if fails {
		return auvious.Room{}, &auvious.CallError{Kind: kind, Detail: "invented"}
	}
	return roomOf(request), nil
}

func (hist *history) nextEnding(id string) (ending, <-chan struct{}) {
	hist.mu.Lock()
	defer hist.mu.Unlock()
	for i := range hist.endings {
		if id == hist.id(i) && len(hist.endings[i]) > 0 {
			how := hist.endings[i][0]
			hist.endings[i] = hist.endings[i][1:]
			return how, hist.held
		}
	}
	return makesRoom, nil
}

func (hist *history) made(id string) {
	hist.mu.Lock()
	defer hist.mu.Unlock()
	hist.rooms[id]++
}

// id returns the interaction id of a conversation.
func (hist *history) id(of int) string { return fmt.Sprintf("call-%d", of) }

func (hist *history) conversation(of int) messages.Conversation {
	return messages.Conversation{Account: hist.account, InteractionID: hist.id(of)}
}

// event returns the first event of a conversation.
func (hist *history) event(of int) messages.Event[messages.Started] {
	event := roomlinktest.Started(hist.id(of))
	event.Data.Account = hist.account
	return event
}

// do runs a step. The broker may refuse it.
func (hist *history) do(s step) {
	ctx, cancel := context.WithTimeout(context.Background(), modelTimeout)
	defer cancel()
	hist.notef("%s %d", s.Name, s.Of)
	var err error
	switch s.Name {
	case "start":
		_, err = hist.harness.store.Publish(ctx, hist.event(s.Of))
		hist.accepted(s.Of, 1, err)
	case "duplicate":
		err = hist.duplicate(ctx, s.Of)
	case "renew":
		err = hist.renew(ctx, s.Of)
	case "replay":
		err = hist.replay(ctx, s.Of)
	case "release":
		hist.release()
	case "await":
		hist.release()
		err = hist.await(ctx, hist.conversation(s.Of).EventSubject())
	case "hold on": // longer than the ack wait
		pauseFor(modelAckWait + modelAckWait/2)
	case "crash":
		i := s.Of % len(hist.workers)
		hist.workers[i].conn.Close()
		hist.workers[i].stop()
		hist.workers[i] = hist.startWorker()
	}
	if err != nil {
		hist.t.Fatalf("%s %d: %v\n%s", s.Name, s.Of, err, hist.story())
	}
}

// pauseFor waits. Delays are part of a history.
func pauseFor(d time.Duration) { <-time.After(d) }

func (hist *history) accepted(of, generation int, err error) {
	if err == nil {
		hist.wanted[hist.id(of)] = max(hist.wanted[hist.id(of)], generation)
	}
}

// duplicate publishes the first event of a conversation again with a new message id, as after the duplicate window.
func (hist *history) duplicate(ctx context.Context, of int) error {
	data, err := hist.event(of).Encode()
	if err != nil {
		return err
	}
	_, err = hist.harness.store.JetStream().Publish(ctx, hist.conversation(of).EventSubject(), data)
	if _, refused := errors.AsType[*jetstream.APIError](err); refused {
		return nil // an event waits already
	}
	hist.accepted(of, 1, err)
	return err
}

func (hist *history) renew(ctx context.Context, of int) error {
	known, err := hist.harness.store.Snapshot(ctx, hist.conversation(of))
	if err != nil || known.Links == nil {
		return err
	}
	outcome, err := hist.harness.store.PublishAfter(ctx, hist.event(of), known)
	if errors.Is(err, store.ErrWaiting) {
		return nil
	}
	if outcome == store.Accepted { // a duplicate may be that of a waiting event of another generation
		hist.accepted(of, known.Generation()+1, err)
	}
	return err
}

func (hist *history) replay(ctx context.Context, of int) error {
	letter, err := hist.harness.store.DeadLetter(ctx, hist.conversation(of), store.Leader)
	if errors.Is(err, messages.ErrNotFound) {
		return nil
	}
	if err == nil {
		_, err = hist.harness.store.Replay(ctx, letter)
	}
	if errors.Is(err, store.ErrWaiting) {
		return nil
	}
	return err
}

// release releases all held calls.
func (hist *history) release() {
	hist.mu.Lock()
	defer hist.mu.Unlock()
	close(hist.held)
	hist.held = make(chan struct{})
}

// await waits until no event waits on a subject. It releases held calls meanwhile.
func (hist *history) await(ctx context.Context, subject string) error {
	for {
		hist.release()
		stream, err := hist.harness.store.JetStream().Stream(ctx, messages.ConversationsStream)
		if err != nil {
			return err
		}
		info, err := stream.Info(ctx, jetstream.WithSubjectFilter(subject))
		if err != nil {
			return fmt.Errorf("waiting for the end of an event: %w", err)
		}
		if len(info.State.Subjects) == 0 {
			return nil
		}
		pauseFor(modelTick)
	}
}

// finish ends all failures, and waits until no event waits.
func (hist *history) finish() {
	hist.mu.Lock()
	hist.endings, hist.lostAcks, hist.lostPub = nil, nil, nil
	hist.mu.Unlock()
	hist.notef("no more failures")
	ctx, cancel := context.WithTimeout(context.Background(), modelTimeout)
	defer cancel()
	if err := hist.await(ctx, "roomlink.conversations."+hist.account+".*"); err != nil {
		hist.t.Fatalf("%v\n%s", err, hist.story())
	}
	// The second job of an event that was delivered twice may still run.
	for hist.sum("roomlink_events_in_flight") > 0 {
		hist.release()
		pauseFor(modelTick)
		if ctx.Err() != nil {
			hist.t.Fatalf("waiting for the end of all jobs: %v\n%s", ctx.Err(), hist.story())
		}
	}
}

// check compares the result of the history with the guarantees of the worker.
func (hist *history) check() {
	for of := range hist.plan.Endings {
		if problem := hist.problemOf(of); problem != "" {
			hist.t.Errorf("%s: %s\n%s", hist.id(of), problem, hist.story())
		}
	}
	rooms := 0
	for _, made := range hist.rooms {
		rooms += made
	}
	if orphans := hist.sum("roomlink_orphans_possible_total"); rooms-len(hist.sets) > orphans {
		hist.t.Errorf("got %d rooms and %d sets of links with %d possible orphans, want no room that is not counted\n%s",
			rooms, len(hist.sets), orphans, hist.story())
	}
}

// sum returns the sum of a metric over all workers, including the crashed ones.
func (hist *history) sum(metric string) int {
	sum := 0.0
	for _, registry := range hist.registries {
		r := running{harness: hist.harness, registry: registry}
		sum += r.metric(metric)
	}
	return int(sum)
}

// problemOf describes what is wrong with a conversation; "" if nothing is.
func (hist *history) problemOf(of int) string {
	ctx, cancel := context.WithTimeout(context.Background(), modelTimeout)
	defer cancel()
	latest, err := hist.harness.store.Snapshot(ctx, hist.conversation(of))
	if err != nil {
		return err.Error()
	}
	dead := 0
	if latest.DeadLetter != nil {
		original, err := latest.DeadLetter.Data.Started()
		if err != nil {
			return err.Error()
		}
		dead = original.Data.Generation()
	}
	hist.mu.Lock()
	defer hist.mu.Unlock()
	sets := map[int]int{}
	for _, set := range hist.sets {
		if set.Data.InteractionID == hist.id(of) {
			sets[set.Data.Generation]++
		}
	}
	wanted := hist.wanted[hist.id(of)]
	for generation, count := range sets {
		if count > 1 || generation > wanted {
			return fmt.Sprintf("got %d sets of links for generation %d, want at most 1, and none after %d", count, generation, wanted)
		}
	}
	switch {
	case max(latest.Generation(), dead) != wanted:
		return fmt.Sprintf("got links of generation %d and a dead letter of %d, want one of the two of %d", latest.Generation(), dead, wanted)
	case dead > 0 && dead <= latest.Generation():
		return fmt.Sprintf("got a dead letter of generation %d beside links of %d, want none", dead, latest.Generation())
	}
	return ""
}

// story returns the journal.
func (hist *history) story() string {
	hist.mu.Lock()
	defer hist.mu.Unlock()
	return strings.Join(hist.journal, "\n")
}

// loses takes the next value of a list. It reports whether the acknowledgement is lost.
func (hist *history) loses(list *[]bool) bool {
	hist.mu.Lock()
	defer hist.mu.Unlock()
	if len(*list) == 0 {
		return false
	}
	lost := (*list)[0]
	*list = (*list)[1:]
	return lost
}

// unreliable is the connection of a worker. It loses acknowledgements, shortens delays and records what is stored.
type unreliable struct {
	jetstream.JetStream
	history *history
}

// PublishMsg implements [jetstream.JetStream].
func (u unreliable) PublishMsg(ctx context.Context, msg *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	ack, err := u.JetStream.PublishMsg(ctx, msg, opts...)
	if err != nil {
		return ack, err
	}
	u.history.notef("stored on %s at %d", msg.Subject, ack.Sequence)
	if links, err := messages.Decode[messages.Links](msg.Data); err == nil {
		u.history.mu.Lock()
		u.history.sets[ack.Sequence] = links
		u.history.mu.Unlock()
	}
	if u.history.loses(&u.history.lostPub) {
		u.history.notef("the acknowledgement of %s at %d is lost", msg.Subject, ack.Sequence)
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
	return unreliableConsumer{consumer, u.history}, err
}

type unreliableConsumer struct {
	jetstream.Consumer
	history *history
}

// Fetch implements [jetstream.Consumer].
func (u unreliableConsumer) Fetch(count int, opts ...jetstream.FetchOpt) (jetstream.MessageBatch, error) {
	batch, err := u.Consumer.Fetch(count, opts...)
	return unreliableBatch{batch, u.history}, err
}

type unreliableBatch struct {
	jetstream.MessageBatch
	history *history
}

// Messages implements [jetstream.MessageBatch].
func (u unreliableBatch) Messages() <-chan jetstream.Msg {
	out := make(chan jetstream.Msg)
	go func() {
		defer close(out)
		for msg := range u.MessageBatch.Messages() {
			out <- unreliableMsg{msg, u.history}
		}
	}()
	return out
}

type unreliableMsg struct {
	jetstream.Msg
	history *history
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
	lost := u.history.loses(&u.history.lostAcks)
	u.history.notef("%s of %s, lost: %v", how, u.Subject(), lost)
	if lost {
		return nil
	}
	return send()
}

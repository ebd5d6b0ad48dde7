package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"roomlink/internal/store"
	"roomlink/messages"
	"roomlink/worker/auvious"
)

const (
	// leastHeld is how long links that could not be stored are held at least.
	leastHeld = time.Minute
	// firstPause and lastPause bound the time until storing them is tried again.
	firstPause = 250 * time.Millisecond
	lastPause  = 2 * time.Second
)

// job is one delivery of an event.
type job struct {
	msg  jetstream.Msg
	meta *jetstream.MsgMetadata
	// account and token of the subject that it came on.
	account, token string
	event          messages.Event[messages.Started]
	past           *past
	began          time.Time
	// stopping is closed when no more calls are to begin; nil for never.
	stopping <-chan struct{}
}

// open reads a delivery. The error wraps [errBadEvent]; the job can be settled
// with it.
func (a *account) open(msg jetstream.Msg, meta *jetstream.MsgMetadata, past *past) (*job, error) {
	j, err := a.read(msg.Subject(), msg.Data())
	j.msg, j.meta, j.past = msg, meta, past
	return j, err
}

// read reads an event. The error wraps [errBadEvent]; the job has the token all
// the same.
func (a *account) read(subject string, data []byte) (*job, error) {
	j := &job{account: a.Name, began: time.Now()}
	var err error
	if _, j.token, err = messages.SplitSubject(subject); err != nil {
		return j, fmt.Errorf("%w: %w", errBadEvent, err)
	}
	if j.event, err = messages.Decode[messages.Started](data); err != nil {
		return j, fmt.Errorf("%w: %w", errBadEvent, err)
	}
	if j.event.Data.EventSubject() != subject {
		return j, fmt.Errorf("%w: it is of another conversation than its subject", errBadEvent)
	}
	return j, nil
}

// work brings an event to its links. It returns nil once they are stored.
func (a *account) work(ctx context.Context, j *job) error {
	conversation, wanted := j.event.Data.Conversation, j.event.Data.Generation()
	stored, err := a.stored(ctx, conversation)
	if err != nil {
		return err
	}
	if stored != nil && stored.Data.Generation >= wanted {
		a.metrics.settled.WithLabelValues("already_linked").Inc()
		return a.clearDeadLetter(ctx, conversation, wanted)
	}
	if j.meta.NumDelivered > 1 && j.past.delivery != j.meta.NumDelivered-1 {
		a.metrics.orphans.WithLabelValues("redelivery").Inc()
	}
	links, err := a.makeLinks(ctx, j, stored)
	if err != nil {
		return err
	}
	a.metrics.settled.WithLabelValues("linked").Inc()
	a.metrics.latency.Observe(max(time.Since(j.meta.Timestamp), 0).Seconds())
	a.log.Info().Str("interaction_id", conversation.InteractionID).Int("generation", links.Data.Generation).
		Uint64("attempt", j.meta.NumDelivered).Int64("took_ms", time.Since(j.began).Milliseconds()).Msg("links stored")
	return a.clearDeadLetter(ctx, conversation, wanted)
}

// makeLinks has a room made and stores its links, in place of those that were read.
func (a *account) makeLinks(
	ctx context.Context, j *job, stored *messages.Stored[messages.Links],
) (messages.Event[messages.Links], error) {
	select {
	case a.calls <- struct{}{}:
		defer func() { <-a.calls }()
	case <-j.stopping:
		return messages.Event[messages.Links]{}, errHandedBack
	case <-ctx.Done():
		return messages.Event[messages.Links]{}, ctx.Err()
	}
	room, err := a.call(ctx, j)
	if err != nil {
		return messages.Event[messages.Links]{}, err
	}
	links := messages.NewEvent(messages.At(time.Now()), a.links(j, room))
	links.TraceParent = j.event.TraceParent
	after := uint64(0)
	if stored != nil {
		after = stored.Sequence
	}
	return links, a.publish(ctx, links, after)
}

// stored returns the links that the leader has; nil for none. Links that break
// the contract are none either, but keep their sequence.
func (a *account) stored(
	ctx context.Context, conversation messages.Conversation,
) (*messages.Stored[messages.Links], error) {
	stored, err := a.client.Links(ctx, conversation, store.Leader)
	switch {
	case errors.Is(err, messages.ErrNotFound):
		return nil, nil
	case err != nil && (stored.Sequence == 0 || !errors.Is(err, messages.ErrInvalid)):
		return nil, err
	}
	found := stored // on the heap, where most events have none
	return &found, nil
}

// call has the room made, if the breaker lets it.
func (a *account) call(ctx context.Context, j *job) (auvious.Room, error) {
	if !a.breaker.TryAcquirePermit() {
		return auvious.Room{}, postponed{max(a.breaker.RemainingDelay(), firstRetry)}
	}
	began := time.Now()
	room, err := a.Facade.CreateRoom(ctx, a.request(j.event.Data))
	a.breaker.record(err)
	a.metrics.call(err, time.Since(began))
	if errors.Is(err, auvious.ErrUnknownOutcome) {
		j.past.unknown++
		a.metrics.orphans.WithLabelValues("unknown_outcome").Inc()
	}
	return room, err
}

// request fills the facade's request: the event's own fields, else the
// account's.
func (a *account) request(started messages.Started) auvious.RoomRequest {
	expiration := int64(a.Auvious.TicketExpiration / time.Second)
	if started.TicketExpirationSeconds != nil {
		expiration = *started.TicketExpirationSeconds
	}
	return auvious.RoomRequest{
		ApplicationID:           cmp.Or(started.ApplicationID, a.Auvious.ApplicationID),
		Destination:             cmp.Or(started.Destination, a.Auvious.Destination),
		CustomerID:              started.CustomerID,
		InteractionID:           started.InteractionID,
		OrganizationID:          cmp.Or(started.OrganizationID, a.Auvious.OrganizationID),
		TicketExpirationSeconds: &expiration,
		URLBase:                 cmp.Or(started.URLBase, a.Auvious.URLBase, a.Auvious.URL),
	}
}

// links are what is published for a room.
func (a *account) links(j *job, room auvious.Room) messages.Links {
	started, now := j.event.Data, time.Now()
	links := messages.Links{
		Request:      started.Request,
		AgentURL:     room.AgentURL,
		RecordingURL: room.RecordingURL,
		TicketURL:    room.TicketURL,
		CreatedAt:    messages.At(now),
		Generation:   started.Generation(),
	}
	// What auvious makes of 0 is not known, and so neither when the ticket ends.
	if seconds := *a.request(started).TicketExpirationSeconds; seconds > 0 {
		links.ExpiresAt = messages.At(now.Add(time.Duration(seconds) * time.Second))
	}
	return links
}

// publish stores links, and goes on trying while the broker is not able to, for as
// long as they are worth it: the room is there, and another call would make another.
func (a *account) publish(ctx context.Context, links messages.Event[messages.Links], after uint64) error {
	err := a.publishOnce(ctx, links, &after)
	if err == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, heldFor(links.Data, a.Auvious.GiveUpAfter))
	defer cancel()
	for wait := firstPause; ; wait = min(2*wait, lastPause) {
		if ctx.Err() != nil || errors.Is(err, messages.ErrInvalid) {
			a.metrics.orphans.WithLabelValues("not_stored").Inc()
			return err
		}
		if wait == firstPause { // once, as an outage may be long
			a.log.Warn().Err(err).Str("interaction_id", links.Data.InteractionID).Msg("links not stored yet")
		}
		pause(ctx, wait)
		if err = a.publishOnce(ctx, links, &after); err == nil {
			return nil
		}
	}
}

// heldFor says how long links that cannot be stored are held: until their ticket
// ends, and where that is not known as long as an event is tried.
func heldFor(links messages.Links, giveUpAfter time.Duration) time.Duration {
	if links.ExpiresAt.IsZero() {
		return max(giveUpAfter, leastHeld)
	}
	return max(links.ExpiresAt.Sub(links.CreatedAt.Time), leastHeld)
}

// publishOnce returns nil if links of this generation or a later one are stored:
// ours, or those of a worker that was faster.
func (a *account) publishOnce(
	ctx context.Context, links messages.Event[messages.Links], after *uint64,
) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	_, err := a.client.PublishLinks(ctx, links, *after)
	if !errors.Is(err, store.ErrSuperseded) {
		return err
	}
	// A lost acknowledgement is refused in the same way: ours may be the last.
	last, err := a.stored(ctx, links.Data.Conversation)
	switch {
	case err != nil:
		return err
	case last == nil:
		*after = 0
	case last.ID == links.ID:
		return nil
	case last.Data.Generation >= links.Data.Generation:
		a.metrics.orphans.WithLabelValues("raced").Inc()
		return nil
	default:
		*after = last.Sequence
	}
	return store.ErrSuperseded
}

// clearDeadLetter deletes the dead letter that links have made obsolete: one of
// their generation or an earlier one.
func (a *account) clearDeadLetter(
	ctx context.Context, conversation messages.Conversation, generation int,
) error {
	letter, err := a.client.DeadLetter(ctx, conversation, store.Leader)
	if errors.Is(err, messages.ErrNotFound) || errors.Is(err, messages.ErrInvalid) {
		return nil // none, or one that cannot be read, which must not hold the event
	}
	if err != nil {
		return err
	}
	if original, err := letter.Data.Started(); err == nil && original.Data.Generation() > generation {
		return nil
	}
	return a.client.Discard(ctx, letter)
}

package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/trace"

	"roomlink/internal/accounts"
	"roomlink/internal/backoff"
	"roomlink/internal/store"
	"roomlink/internal/tracing"
	"roomlink/messages"
	"roomlink/worker/auvious"
)

// minHoldTimeout is the shortest time for which a job holds links that cannot be stored.
const minHoldTimeout = time.Minute

// storeBackoff bounds the delay until a job tries again to store its links.
var storeBackoff = backoff.Backoff{Min: 250 * time.Millisecond, Max: 2 * time.Second}

// job is the work on one delivery of an event.
type job struct {
	// msg is nil for a stuck event.
	msg     jetstream.Msg
	meta    *jetstream.MsgMetadata
	subject string
	data    []byte
	// began is the time at which the job began. It has a reading of the monotonic clock.
	began time.Time
	// stopping is closed when no more calls may begin.
	stopping <-chan struct{}

	// token is the last token of the subject, and event the decoded data.
	token string
	event messages.Event[messages.Started]
	// spent says how long the steps of this delivery took.
	spent durations

	delivery
}

// stored returns the identity of the event in the stream.
func (j *job) stored() storedEvent {
	return storedEvent{j.meta.Sequence.Stream, j.meta.Timestamp.UnixNano()}
}

// decode sets the token and the event. Its error wraps [errBadEvent].
func (j *job) decode() error {
	var err error
	if _, j.token, err = messages.SplitSubject(j.subject); err != nil {
		return fmt.Errorf("%w: %w", errBadEvent, err)
	}
	if j.event, err = messages.Decode[messages.Started](j.data); err != nil {
		return fmt.Errorf("%w: %w", errBadEvent, err)
	}
	if j.event.Data.EventSubject() != j.subject {
		return fmt.Errorf("%w: its subject is that of another conversation", errBadEvent)
	}
	return nil
}

// work makes the links of an event. It returns nil once they are stored, or if they were stored before.
func (a *account) work(ctx context.Context, j *job) error {
	began := time.Now()
	looking, span := tracing.Start(ctx, "look up links", trace.SpanKindClient)
	stored, err := a.storedLinks(looking, j)
	tracing.End(span, err)
	j.spent.lookup += time.Since(began)
	if err != nil {
		return err
	}
	if stored != nil && stored.Data.Generation >= j.event.Data.Generation() {
		a.metrics.settled.WithLabelValues("already_linked").Inc()
		return a.finish(ctx, j, "already_linked")
	}
	if j.meta.NumDelivered > 1 && j.number != j.meta.NumDelivered-1 {
		// The last delivery was not given back by this process. Its job may have made a room.
		a.metrics.orphans.WithLabelValues("redelivery").Inc()
	}
	if err := a.makeLinks(ctx, j, stored); err != nil {
		return err
	}
	a.metrics.settled.WithLabelValues("linked").Inc()
	a.metrics.latency.Observe(max(time.Since(j.meta.Timestamp), 0).Seconds())
	for i, spent := range j.timing().phases() {
		a.metrics.phases[i].Observe(spent.Seconds())
	}
	return a.finish(ctx, j, "linked")
}

// finish ends the work on an event whose links are stored.
func (a *account) finish(ctx context.Context, j *job, outcome string) error {
	began := time.Now()
	err := a.clearDeadLetter(ctx, j)
	j.spent.store += time.Since(began)
	if err == nil {
		j.end(a.log.Info().Int("generation", j.event.Data.Generation()), j.event.Data.InteractionID, outcome, "links stored")
	}
	return err
}

// storedLinks returns the links of a job's conversation from the leader of the stream; nil if there are none. For
// links that break the contract it returns only their sequence.
func (a *account) storedLinks(ctx context.Context, j *job) (*messages.Stored[messages.Links], error) {
	stored, err := a.store.Links(ctx, j.event.Data.Conversation, store.Leader)
	switch {
	case errors.Is(err, messages.ErrNotFound):
		return nil, nil
	case err != nil && (stored.Sequence == 0 || !errors.Is(err, messages.ErrInvalid)):
		return nil, err
	}
	found := stored // only this copy escapes to the heap; most events have no links yet
	return &found, nil
}

// makeLinks makes a room, and stores its links in place of the stored ones.
func (a *account) makeLinks(ctx context.Context, j *job, stored *messages.Stored[messages.Links]) error {
	select {
	case a.calls <- struct{}{}:
		defer func() { <-a.calls }()
	case <-j.stopping:
		return errHandedBack
	case <-ctx.Done():
		return ctx.Err()
	}
	request := Request(a.Auvious, j.event.Data)
	room, err := a.call(ctx, j, request)
	if err != nil {
		return err
	}
	a.countHosts(request, room)
	links := messages.NewEvent(messages.At(time.Now()), newLinks(j, request, room))
	links.TraceParent = cmp.Or(tracing.Parent(ctx), j.event.TraceParent)
	after := uint64(0)
	if stored != nil {
		after = stored.Sequence
	}
	began := time.Now()
	storing, span := tracing.Start(ctx, "store links", trace.SpanKindProducer)
	err = a.publish(storing, j, links, after)
	tracing.End(span, err)
	j.spent.store += time.Since(began)
	return err
}

// call calls auvious if the breaker allows it.
func (a *account) call(ctx context.Context, j *job, request auvious.RoomRequest) (auvious.Room, error) {
	if !a.breaker.TryAcquirePermit() {
		return auvious.Room{}, postponedError{max(a.breaker.RemainingDelay(), retryBackoff.Min)}
	}
	began, token := time.Now(), j.spent.token
	room, err := a.Facade.CreateRoom(auvious.WithTokenTime(ctx, &j.spent.token), request)
	took := time.Since(began)
	j.spent.facade += took - (j.spent.token - token)
	p := policyOf(err)
	a.breaker.record(p.breaker, err)
	a.metrics.calls.WithLabelValues(p.label).Inc()
	a.metrics.callTime.Observe(took.Seconds())
	if err == nil {
		a.metrics.answers.WithLabelValues("2xx").Inc() // observe counts the others
	}
	if p.when == afterUnknownRetries {
		j.unknown++
	}
	if p.orphan != "" {
		a.metrics.orphans.WithLabelValues(p.orphan).Inc()
	}
	return room, err
}

// Request returns the request for auvious that asks for the room of an event. The account's fields replace absent
// fields of the event.
func Request(account accounts.Auvious, started messages.Started) auvious.RoomRequest {
	expiration := int64(account.TicketExpiration / time.Second)
	if started.TicketExpirationSeconds != nil {
		expiration = *started.TicketExpirationSeconds
	}
	return auvious.RoomRequest{
		ApplicationID:           cmp.Or(started.ApplicationID, account.ApplicationID),
		Destination:             cmp.Or(started.Destination, account.Destination),
		CustomerID:              started.CustomerID,
		InteractionID:           started.InteractionID,
		OrganizationID:          cmp.Or(started.OrganizationID, account.OrganizationID),
		TicketExpirationSeconds: &expiration,
		URLBase:                 urlBase(cmp.Or(started.URLBase, account.URLBase, account.URL)),
	}
}

// urlBase returns the beginning of links with its scheme and its host in Punycode. It leaves an unusable one, which an
// older event may have, for auvious to judge.
func urlBase(text string) string {
	base, err := accounts.ParseURLBase(text)
	if err != nil {
		return text
	}
	return base.String()
}

// newLinks returns the links of a room.
func newLinks(j *job, request auvious.RoomRequest, room auvious.Room) messages.Links {
	now := time.Now()
	links := messages.Links{
		Request:      j.event.Data.Request,
		AgentURL:     room.AgentURL,
		RecordingURL: room.RecordingURL,
		TicketURL:    room.TicketURL,
		CreatedAt:    messages.At(now),
		Generation:   j.event.Data.Generation(),
	}
	// Only auvious knows when the ticket of an expiration of 0 ends.
	if seconds := *request.TicketExpirationSeconds; seconds > 0 {
		links.ExpiresAt = messages.At(now.Add(time.Duration(seconds) * time.Second))
	}
	return links
}

// publish stores links in place of those with the sequence after. While the broker cannot store them, publish tries
// again until [holdTimeout]: the room exists, and another call would make another.
func (a *account) publish(ctx context.Context, j *job, links messages.Event[messages.Links], after uint64) error {
	after, err := a.publishOnce(ctx, j, links, after)
	if err == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, holdTimeout(links.Data, a.Auvious.GiveUpAfter))
	defer cancel()
	for attempts := uint64(1); ctx.Err() == nil && !errors.Is(err, messages.ErrInvalid); attempts++ {
		if attempts == 1 { // once, because an outage may be long
			a.log.Warn().Err(err).Str("interaction_id", links.Data.InteractionID).Msg("links not stored yet")
		}
		pause(ctx, storeBackoff.Delay(attempts))
		if after, err = a.publishOnce(ctx, j, links, after); err == nil {
			return nil
		}
	}
	a.metrics.orphans.WithLabelValues("not_stored").Inc()
	return err
}

// publishOnce tries to store links. It returns no error if links of this or a later generation are stored: these, or
// those of a faster worker. With an error it returns the sequence for the next attempt.
func (a *account) publishOnce(
	ctx context.Context, j *job, links messages.Event[messages.Links], after uint64,
) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	_, superseded := a.store.PublishLinks(ctx, links, after)
	if !errors.Is(superseded, store.ErrSuperseded) {
		return after, superseded
	}
	// The broker also refuses links whose first acknowledgement was lost. So the stored links may be these.
	stored, err := a.storedLinks(ctx, j)
	switch {
	case err != nil:
		return after, err
	case stored == nil:
		return 0, superseded
	case stored.ID == links.ID:
		return after, nil
	case stored.Data.Generation >= links.Data.Generation:
		a.metrics.orphans.WithLabelValues("raced").Inc()
		return after, nil
	}
	return stored.Sequence, superseded
}

// holdTimeout returns how long a job holds links that cannot be stored: until their ticket ends, or until the give-up
// time if the end is unknown.
func holdTimeout(links messages.Links, giveUpAfter time.Duration) time.Duration {
	if links.ExpiresAt.IsZero() {
		return max(giveUpAfter, minHoldTimeout)
	}
	return max(links.ExpiresAt.Sub(links.CreatedAt.Time), minHoldTimeout)
}

// clearDeadLetter deletes the dead letter of a job's conversation, unless it is of a later generation.
func (a *account) clearDeadLetter(ctx context.Context, j *job) error {
	letter, err := a.store.DeadLetter(ctx, j.event.Data.Conversation, store.Leader)
	if errors.Is(err, messages.ErrNotFound) || errors.Is(err, messages.ErrInvalid) {
		return nil // an unreadable dead letter must not hold up the event
	}
	if err != nil {
		return err
	}
	if original, err := letter.Data.Started(); err == nil && original.Data.Generation() > j.event.Data.Generation() {
		return nil
	}
	return a.store.Discard(ctx, letter)
}

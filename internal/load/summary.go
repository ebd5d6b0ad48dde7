package load

import (
	"context"
	"time"

	"roomlink/messages"
)

// lookUpTimeout bounds the look-up of conversations without an outcome.
const lookUpTimeout = 20 * time.Second

// summarize fills in what the test measured. The meter counts no more.
func (r *run) summarize(ctx context.Context, result *Result, used []Part) {
	r.lookUp(ctx)
	m := r.meter
	depth := r.depth(ctx)
	m.sample(depth) // the last second, which is not whole
	result.Requests, result.Series = m.requests, m.series
	result.Answer, result.Links = m.answer.result(), m.links.result()
	result.AcceptedPerSecond = perSecond(m.accepted, m.lastAccepted-m.firstDue)
	result.LinkedPerSecond = perSecond(m.linked, m.lastLinks-m.firstDue)
	result.Duration = max(m.lastResponse-m.firstDue, 0).Seconds()
	for i := range used {
		if m.accepted > 0 {
			used[i].CPUPerThousand = used[i].CPUSeconds / float64(m.accepted) * 1000
		}
	}
	result.Parts = used
	result.Reconciliation.Waiting = max(depth, 0)
	linked := r.countConversations(&result.Reconciliation)
	r.countRooms(ctx, result, linked)
}

func perSecond(count int, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(count) / d.Seconds()
}

// countConversations counts the conversations by their outcome. It returns the number with links, whether they
// were accepted or not.
func (r *run) countConversations(sum *Reconciliation) (linked int) {
	sum.Sent, sum.Accepted = r.meter.conversations.count, r.meter.accepted
	for index := range sum.Sent {
		c := r.meter.conversations.at(index)
		if c.linked {
			linked++
		}
		if c.double {
			sum.Doubles++
		}
		switch {
		case !c.accepted && c.unanswered:
			sum.Unanswered++
		case !c.accepted:
			sum.Refused++
		case c.linked: // a dead letter may have come before the links
			sum.Linked++
		case c.dead:
			sum.DeadLettered++
		default:
			sum.Missing++
		}
	}
	if !r.Target.Shared {
		// Only links of the same conversation replace links before they are delivered.
		sum.Doubles += int(r.links.skipped.Load())
	}
	return linked
}

// countRooms compares the number of rooms with the number of conversations with links.
func (r *run) countRooms(ctx context.Context, result *Result, linked int) {
	result.Reconciliation.OrphansAllowed = r.Target.OrphansAllowed(ctx)
	if r.Target.Facade == nil {
		return
	}
	stats, err := r.Target.Facade(ctx)
	if err != nil {
		return // Counted stays false
	}
	before := r.facade
	result.Facade = Facade{
		Counted:       true,
		Calls:         stats.RoomCalls - before.RoomCalls,
		Rooms:         stats.RoomsMade - before.RoomsMade,
		TokenCalls:    stats.TokenCalls - before.TokenCalls,
		TicketFetches: stats.TicketFetches - before.TicketFetches,
	}
	for status, count := range stats.RoomStatuses {
		if status/100 != 2 {
			result.Facade.Failed += count - before.RoomStatuses[status]
		}
	}
	result.Reconciliation.Orphans = max(result.Facade.Rooms-linked, 0)
}

// lookUp reads the outcome of conversations without one. A subscriber may have missed it while the broker was
// down.
func (r *run) lookUp(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookUpTimeout)
	defer cancel()
	for index := range r.meter.conversations.count {
		c := r.meter.conversations.at(index)
		if c.linked || c.dead || ctx.Err() != nil {
			continue
		}
		stored := messages.Conversation{
			Account:       r.Target.Callers[index%len(r.Target.Callers)].Account,
			InteractionID: string(r.meter.conversations.appendID(nil, index)),
		}
		c.linked = r.has(ctx, messages.LinksStream, stored.LinksSubject())
		c.dead = !c.linked && r.has(ctx, messages.DeadLettersStream, stored.DeadLetterSubject())
	}
}

// has reports whether a stream has a message on a subject.
func (r *run) has(ctx context.Context, stream, subject string) bool {
	_, err := messages.GetDirect(ctx, r.Target.JetStream, stream, subject)
	return err == nil
}

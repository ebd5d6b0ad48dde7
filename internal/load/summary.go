package load

import (
	"context"
	"maps"
	"slices"
	"time"
)

// lookUpTimeout bounds the look-up of conversations without an outcome.
const lookUpTimeout = 20 * time.Second

// summarize fills in what the test measured.
func (r *run) summarize(ctx context.Context, result *Result, used []Usage) {
	r.lookUp(ctx)
	m := r.meter
	depth := r.depth(ctx)
	m.sample(depth) // the last second, which is not whole
	m.mu.Lock()
	result.Requests = m.requests
	result.Requests.Statuses = maps.Clone(m.requests.Statuses)
	result.Answer, result.Links = m.answer.result(), m.links.result()
	result.Series = slices.Clone(m.series)
	first := max(m.firstDue, 0)
	result.AcceptedPerSecond = perSecond(m.accepted.Load(), m.lastAccepted-first)
	result.LinkedPerSecond = perSecond(m.linked.Load(), m.lastLinks-first)
	result.Duration = max(m.lastResponse-first, 0).Seconds()
	m.mu.Unlock()

	for _, usage := range used {
		part := Part{Name: usage.Name, CPUSeconds: usage.CPU.Seconds(), PeakMemory: usage.PeakMemory}
		if accepted := m.accepted.Load(); accepted > 0 {
			part.CPUPerThousand = part.CPUSeconds / float64(accepted) * 1000
		}
		result.Parts = append(result.Parts, part)
	}
	if r.Target.Kills != nil {
		result.Kills = r.Target.Kills()
	}
	result.Reconciliation.Waiting = max(depth, 0)
	linked := r.countConversations(&result.Reconciliation)
	r.countRooms(ctx, result, linked)
}

func perSecond(count int64, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(count) / d.Seconds()
}

// countConversations counts the conversations by their outcome. It returns the number with links, whether they
// were accepted or not.
func (r *run) countConversations(c *Reconciliation) (linked int) {
	r.conversations.each(func(_ int, marks uint32) {
		c.Sent++
		if marks&markLinked != 0 {
			linked++
		}
		if marks&markDouble != 0 {
			c.Doubles++
		}
		switch {
		case marks&markAccepted == 0 && marks&markUnanswered != 0:
			c.Unanswered++
			return
		case marks&markAccepted == 0:
			c.Refused++
			return
		}
		c.Accepted++
		switch {
		case marks&markLinked != 0: // a dead letter may have come before the links
			c.Linked++
		case marks&markDead != 0:
			c.DeadLettered++
		default:
			c.Missing++
		}
	})
	if !r.Target.Shared {
		// Only links of the same conversation replace links before they are delivered.
		c.Doubles += int(r.links.skipped.Load())
	}
	return linked
}

// countRooms compares the number of rooms with the number of conversations with links.
func (r *run) countRooms(ctx context.Context, result *Result, linked int) {
	if r.Target.OrphansAllowed != nil {
		result.Reconciliation.OrphansAllowed = r.Target.OrphansAllowed(ctx)
	}
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
	r.lookUpIn(ctx, r.Target.Links, markLinked)
	r.lookUpIn(ctx, r.Target.DeadLetters, markDead)
}

func (r *run) lookUpIn(ctx context.Context, outcomes Outcomes, mark uint32) {
	stream, err := r.Target.JetStream.Stream(ctx, outcomes.Stream)
	if err != nil {
		return
	}
	r.conversations.each(func(index int, marks uint32) {
		if marks&(markLinked|markDead) != 0 || ctx.Err() != nil {
			return
		}
		account := r.Target.Callers[index%len(r.Target.Callers)].Account
		id := string(r.conversations.appendID(nil, index))
		if _, err := stream.GetLastMsgForSubject(ctx, outcomes.Subject(account, id)); err == nil {
			r.conversations.at(index).marks.Or(mark)
		}
	})
}

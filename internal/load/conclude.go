package load

import (
	"context"
	"maps"
	"slices"
	"time"
)

// lookUpWithin bounds the look-up of conversations without news.
const lookUpWithin = 20 * time.Second

// conclude fills in what was found.
func (r *run) conclude(ctx context.Context, result *Result, used []Usage) {
	r.lookUp(ctx)
	m := r.meter
	depth, err := r.depth(ctx)
	if err != nil {
		depth = -1
	}
	m.sample(depth) // what is left of the last second
	m.mu.Lock()
	result.Requests = m.requests
	result.Requests.Statuses = maps.Clone(m.requests.Statuses)
	result.Answer, result.Links = m.answer.result(), m.links.result()
	result.Series = slices.Clone(m.series)
	first := max(m.first, 0)
	lastAccepted, lastLinks := (m.lastAccepted - first).Seconds(), (m.lastLinks - first).Seconds()
	result.Duration = max(m.lastAnswer-first, 0).Seconds()
	m.mu.Unlock()

	accepted := int(m.accepted.Load())
	result.AcceptedPerSecond = perSecond(accepted, lastAccepted)
	result.LinkedPerSecond = perSecond(int(m.linked.Load()), lastLinks)
	for _, usage := range used {
		part := Part{Name: usage.Name, CPUSeconds: usage.CPU.Seconds(), PeakMemory: usage.PeakMemory}
		if accepted > 0 {
			part.CPUPerThousand = part.CPUSeconds / float64(accepted) * 1000
		}
		result.Parts = append(result.Parts, part)
	}
	if r.Target.Kills != nil {
		result.Kills = r.Target.Kills()
	}
	result.Reconciliation.Waiting = max(depth, 0)
	r.reconcile(ctx, result)
}

func perSecond(count int, seconds float64) float64 {
	if seconds <= 0 {
		return 0
	}
	return float64(count) / seconds
}

// reconcile holds what went in against what came out.
func (r *run) reconcile(ctx context.Context, result *Result) {
	found := &result.Reconciliation
	linked := 0
	r.conversations.each(func(_ int, marks uint32) {
		if marks&markSent == 0 {
			return // the attack ended before
		}
		found.Sent++
		if marks&markLinked != 0 {
			linked++
		}
		if marks&markDouble != 0 {
			found.Doubles++
		}
		switch {
		case marks&markAccepted != 0:
			found.Accepted++
		case marks&markUnanswered != 0:
			found.Unanswered++
			return
		default:
			found.Refused++
			return
		}
		switch { // a dead letter may have been in time for links
		case marks&markLinked != 0:
			found.Linked++
		case marks&markDead != 0:
			found.DeadLettered++
		default:
			found.Missing++
		}
	})
	if !r.Target.Shared {
		// Links that were replaced before they were seen.
		found.Doubles += int(r.links.skipped.Load())
	}
	r.countRooms(ctx, result, linked)
}

// countRooms holds the rooms that were made against those that links lead to.
func (r *run) countRooms(ctx context.Context, result *Result, linked int) {
	if r.Target.OrphansAllowed != nil {
		result.Reconciliation.OrphansAllowed = r.Target.OrphansAllowed(ctx)
	}
	if r.Target.Facade == nil {
		return
	}
	stats, err := r.Target.Facade(ctx)
	if err != nil {
		return // counts that are not known stay 0
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

// lookUp reads what a subscription may have missed while its broker was away, for
// conversations that it brought nothing of.
func (r *run) lookUp(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookUpWithin)
	defer cancel()
	for _, outcomes := range []struct {
		Outcomes
		mark uint32
	}{{r.Target.Links, markLinked}, {r.Target.DeadLetters, markDead}} {
		if outcomes.Stream == "" {
			continue
		}
		stream, err := r.Target.JetStream.Stream(ctx, outcomes.Stream)
		if err != nil {
			return
		}
		r.conversations.each(func(index int, marks uint32) {
			if marks&markSent == 0 || marks&(markLinked|markDead) != 0 || ctx.Err() != nil {
				return
			}
			account := r.Target.Callers[index%len(r.Target.Callers)].Account
			id := string(r.conversations.appendID(nil, index))
			if _, err := stream.GetLastMsgForSubject(ctx, outcomes.Subject(account, id)); err == nil {
				r.conversations.at(index).marks.Or(outcomes.mark)
			}
		})
	}
}

package worker

import (
	"strings"
	"time"

	"github.com/rs/zerolog"
)

// durations say how long the steps of an event took.
type durations struct {
	// lookup is the time of looking for stored links, token that of waiting for an access token, facade that of calling
	// the room facade, and store that of storing links or a dead letter.
	lookup, token, facade, store time.Duration
}

// plus returns the sums of two durations.
func (d durations) plus(more durations) durations {
	return durations{
		lookup: d.lookup + more.lookup, token: d.token + more.token,
		facade: d.facade + more.facade, store: d.store + more.store,
	}
}

// timing is what an event's time was spent on, over all its deliveries to this process. Its parts add up to the total.
type timing struct {
	durations

	// total is the time since the event was stored, and queue the part of it in which the event waited: in the queue, for
	// a free call, or for a retry.
	total, queue time.Duration
}

// timing returns the times of a job's event until now.
func (j *job) timing() timing {
	t := timing{durations: j.earlier.plus(j.spent), total: max(time.Since(j.storedAt), 0)}
	t.queue = max(t.total-t.lookup-t.token-t.facade-t.store, 0)
	return t
}

// phases returns the parts of a timing by their names in metrics and in the log.
func (t timing) phases() [len(phaseNames)]time.Duration {
	return [...]time.Duration{t.queue, t.lookup, t.token, t.facade, t.store}
}

// phaseNames are the names of [timing.phases].
var phaseNames = [...]string{"queue", "lookup", "token", "facade", "store"}

// end finishes the one log line of an event that has ended.
func (j *job) end(line *zerolog.Event, interactionID, outcome, message string) {
	t := j.timing()
	line.Str("event_id", j.event.ID).Str("interaction_id", interactionID).Str("outcome", outcome).
		Uint64("attempts", j.meta.NumDelivered).Int64("total_ms", t.total.Milliseconds())
	for i, spent := range t.phases() {
		line.Int64(phaseNames[i]+"_ms", spent.Milliseconds())
	}
	if id := traceID(j.event.TraceParent); id != "" {
		line.Str("trace_id", id)
	}
	line.Msg(message)
}

// traceID returns the trace id of a traceparent (W3C Trace Context, section 3.2); "" if there is none.
func traceID(traceParent string) string {
	parts := strings.Split(traceParent, "-")
	if len(parts) < 4 || len(parts[1]) != 32 {
		return ""
	}
	return parts[1]
}

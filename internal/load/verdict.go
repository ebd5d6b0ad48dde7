package load

import (
	"errors"
	"fmt"
	"strings"
)

// ErrDoesNotAddUp is a load test that lost or doubled something, or left it behind.
var ErrDoesNotAddUp = errors.New("it does not add up")

// ErrThresholdMissed is a load test that missed a condition of --fail.
var ErrThresholdMissed = errors.New("thresholds missed")

// Reconcile writes into Reconciliation.Faults one sentence for each thing that does
// not add up, in place of what stood there.
func (r *Result) Reconcile() { r.Reconciliation.Faults = faults(r.Reconciliation, r.Facade) }

func faults(c Reconciliation, facade Facade) []string {
	var found []string
	add := func(wrong bool, format string, v ...any) {
		if wrong {
			found = append(found, fmt.Sprintf(format, v...))
		}
	}
	add(c.Sent == 0, "Nothing was sent.")
	answered := c.Accepted + c.Refused + c.Unanswered
	add(c.Sent != answered, "%d sent, but %d were accepted, refused or left unanswered.", c.Sent, answered)
	ended := c.Linked + c.DeadLettered + c.Missing
	add(c.Accepted != ended, "%d accepted, but %d are linked, dead-lettered or missing.", c.Accepted, ended)
	add(c.Missing > 0, "%d accepted, with neither links nor a dead letter.", c.Missing)
	add(c.Doubles > 0, "%d with more than one set of links.", c.Doubles)
	add(c.Orphans > c.OrphansAllowed, "%d rooms that no links lead to, where crashes and lost answers explain %d.",
		c.Orphans, c.OrphansAllowed)
	add(c.Waiting > 0, "%d still waiting in the queue.", c.Waiting)
	add(facade.TicketFetches > 0, "%d fetched tickets: each is its customer's alone.", facade.TicketFetches)
	return found
}

// Judge writes into Thresholds how each of the conditions came out, in place of
// what stood there.
func (r *Result) Judge(conditions []Condition) {
	judged := make([]Threshold, 0, len(conditions))
	for _, condition := range conditions {
		judged = append(judged, condition.Judge(r))
	}
	r.Thresholds = judged
}

// Held tells whether everything added up and every threshold was met, as
// [Result.Reconcile] and [Result.Judge] found.
func (r *Result) Held() bool { return r.Err() == nil }

// Err returns nil if the load test held, else an error with what did not: it is
// [ErrDoesNotAddUp], [ErrThresholdMissed] or both. Call [Result.Reconcile] and
// [Result.Judge] before.
func (r *Result) Err() error {
	var found []error
	if faults := r.Reconciliation.Faults; len(faults) > 0 {
		found = append(found, fmt.Errorf("%w: %s", ErrDoesNotAddUp, strings.Join(faults, " ")))
	}
	var missed []string
	for _, threshold := range r.Thresholds {
		if !threshold.Met {
			missed = append(missed, threshold.Expression)
		}
	}
	if len(missed) > 0 {
		found = append(found, fmt.Errorf("%w: %s", ErrThresholdMissed, strings.Join(missed, ", ")))
	}
	return errors.Join(found...)
}

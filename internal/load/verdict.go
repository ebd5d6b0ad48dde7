package load

import (
	"errors"
	"fmt"
	"strings"
)

// ErrDoesNotAddUp is the error of a load test that lost, doubled or left something.
var ErrDoesNotAddUp = errors.New("it does not add up")

// ErrThresholdMissed is the error of a load test that missed a condition of --fail.
var ErrThresholdMissed = errors.New("thresholds missed")

// Reconcile sets Reconciliation.Faults to one sentence for each thing that does not add up.
func (r *Result) Reconcile() {
	c := &r.Reconciliation
	c.Faults = nil
	check := func(ok bool, format string, v ...any) {
		if !ok {
			c.Faults = append(c.Faults, fmt.Sprintf(format, v...))
		}
	}
	check(c.Sent > 0, "Nothing was sent.")
	answered := c.Accepted + c.Refused + c.Unanswered
	check(c.Sent == answered, "Sent: %d, but accepted + refused + unanswered = %d.", c.Sent, answered)
	ended := c.Linked + c.DeadLettered + c.Missing
	check(c.Accepted == ended, "Accepted: %d, but linked + dead-lettered + missing = %d.", c.Accepted, ended)
	check(c.Missing <= 0, "Accepted but without links or a dead letter: %d.", c.Missing)
	check(c.Doubles <= 0, "With more than one set of links: %d.", c.Doubles)
	check(c.Orphans <= c.OrphansAllowed, "Rooms without links: %d, but crashes and lost answers explain %d.",
		c.Orphans, c.OrphansAllowed)
	check(c.Waiting <= 0, "Still in the queue: %d.", c.Waiting)
	check(r.Facade.TicketFetches <= 0, "Tickets fetched: %d, but only the customer may fetch one.", r.Facade.TicketFetches)
}

// Judge sets Thresholds to the verdicts on the conditions.
func (r *Result) Judge(conditions []Condition) {
	r.Thresholds = make([]Threshold, 0, len(conditions))
	for _, condition := range conditions {
		r.Thresholds = append(r.Thresholds, condition.Judge(r))
	}
}

// Passed reports whether everything added up and every threshold was met. Call [Result.Reconcile] and
// [Result.Judge] before.
func (r *Result) Passed() bool { return r.Err() == nil }

// Missed returns the expressions of the missed thresholds. Call [Result.Judge] before.
func (r *Result) Missed() []string {
	var missed []string
	for _, threshold := range r.Thresholds {
		if !threshold.Met {
			missed = append(missed, threshold.Expression)
		}
	}
	return missed
}

// Err returns nil if the load test passed, else [ErrDoesNotAddUp], [ErrThresholdMissed] or both, with the
// reasons. Call [Result.Reconcile] and [Result.Judge] before.
func (r *Result) Err() error {
	var errs []error
	if faults := r.Reconciliation.Faults; len(faults) > 0 {
		errs = append(errs, fmt.Errorf("%w: %s", ErrDoesNotAddUp, strings.Join(faults, " ")))
	}
	if missed := r.Missed(); len(missed) > 0 {
		errs = append(errs, fmt.Errorf("%w: %s", ErrThresholdMissed, strings.Join(missed, ", ")))
	}
	return errors.Join(errs...)
}

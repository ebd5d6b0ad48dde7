package report

import (
	"fmt"
	"math"

	"roomlink/internal/load"
)

// headline says in a sentence or two how the load test went.
func headline(r load.Result) string {
	c := r.Reconciliation
	if c.Sent == 0 {
		return "Nothing was sent."
	}
	what := fmt.Sprintf("%s events per second for %s", rounded(r.AcceptedPerSecond), duration(r.Duration))
	if r.Kills > 0 {
		what += fmt.Sprintf(", with %s killed", counted(r.Kills, "part"))
	}
	switch faults := len(c.Faults); faults {
	case 0:
	case 1:
		return what + ": it does not add up. " + c.Faults[0]
	default:
		return fmt.Sprintf("%s: it does not add up. %s And %d more.", what, c.Faults[0], faults-1)
	}
	text := what + ": " + outcome(c)
	switch {
	case r.Drain > 0:
		text += "; the worker drained the queue in " + wholeSeconds(r.Drain)
	case r.Links.Count > 0:
		text += fmt.Sprintf("; half within %s, 99 %% within %s", wholeSeconds(r.Links.P50), wholeSeconds(r.Links.P99))
	}
	text += "."
	missed := 0
	for _, t := range r.Thresholds {
		if !t.Met {
			missed++
		}
	}
	if missed > 0 {
		text += fmt.Sprintf(" But it missed %d of %s.", missed, counted(len(r.Thresholds), "threshold"))
	}
	return text
}

// outcome describes the outcome of the conversations if everything adds up.
func outcome(c load.Reconciliation) string {
	text := "every conversation"
	if c.Refused+c.Unanswered > 0 {
		text = "every accepted conversation"
	}
	text += " got its links"
	if c.DeadLettered > 0 {
		text += fmt.Sprintf(" or its dead letter (%s)", integer(c.DeadLettered))
	}
	if c.Refused > 0 {
		text += fmt.Sprintf(", %s were refused", integer(c.Refused))
	}
	if c.Unanswered > 0 {
		text += fmt.Sprintf(", %s got no answer", integer(c.Unanswered))
	}
	return text
}

// rounded formats a rate with its first three digits.
func rounded(value float64) string {
	if value < 100 {
		return rate(value)
	}
	power := math.Pow(10, math.Floor(math.Log10(value))-2)
	return decimal(math.Round(value/power)*power, 0)
}

package report

import (
	"fmt"
	"math"

	"roomlink/internal/load"
)

// headline says in a sentence or two whether the load test held.
func headline(r load.Result) string {
	c := r.Reconciliation
	if c.Sent == 0 {
		return "Nothing was sent."
	}
	under := fmt.Sprintf("%s events a second for %s", rounded(r.AcceptedPerSecond), lasted(r.Duration))
	if r.Kills > 0 {
		under += fmt.Sprintf(", with %s killed on the way", counted(r.Kills, "part"))
	}
	switch faults := len(c.Faults); faults {
	case 0:
	case 1:
		return under + ": it does not add up. " + c.Faults[0]
	default:
		return fmt.Sprintf("%s: it does not add up. %s And %d more.", under, c.Faults[0], faults-1)
	}
	said := under + ": " + outcome(c)
	switch {
	case r.Drain > 0:
		said += fmt.Sprintf("; a worker that came late worked off what waited in %s", about(r.Drain))
	case r.Links.Count > 0:
		said += fmt.Sprintf("; half within %s, 99 %% within %s", about(r.Links.P50), about(r.Links.P99))
	}
	said += "."
	if missed := missed(r); missed > 0 {
		said += fmt.Sprintf(" But it missed %d of %s.", missed, counted(len(r.Thresholds), "threshold"))
	}
	return said
}

// outcome says what became of the conversations of a load test that adds up.
func outcome(c load.Reconciliation) string {
	of := "every conversation"
	if c.Refused+c.Unanswered > 0 {
		of = "every conversation that was accepted"
	}
	said := of + " got its links"
	if c.DeadLettered > 0 {
		said = fmt.Sprintf("%s got its links or its dead letter (%s)", of, integer(c.DeadLettered))
	}
	if c.Refused > 0 {
		said += fmt.Sprintf(", %s were refused", integer(c.Refused))
	}
	if c.Unanswered > 0 {
		said += fmt.Sprintf(", %s had no answer", integer(c.Unanswered))
	}
	return said
}

func missed(r load.Result) int {
	var missed int
	for _, t := range r.Thresholds {
		if !t.Met {
			missed++
		}
	}
	return missed
}

// rounded writes a rate with its first three digits, as people say it.
func rounded(value float64) string {
	if value < 100 {
		return rate(value)
	}
	power := math.Pow(10, math.Floor(math.Log10(value))-2)
	return decimal(math.Round(value/power)*power, 0)
}

// about writes a latency as people say it: whole milliseconds where there are ten.
func about(value float64) string {
	if value >= 0.00995 && value < 9.9995 {
		return decimal(value*1000, 0) + " ms"
	}
	return seconds(value)
}

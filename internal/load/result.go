package load

import "time"

// Result is what a load test found. Its JSON is what "roomlink load --json"
// prints and --compare reads; times are in seconds, and sizes in bytes.
type Result struct {
	// Version of roomlink, and Machine that it ran on.
	Version   string    `json:"version"`
	Machine   Machine   `json:"machine"`
	StartedAt time.Time `json:"startedAt"`
	// Settings are the flags that were given, as they were written, by their names
	// without dashes, such as "rate" and "facade-latency".
	Settings map[string]string `json:"settings"`
	// Duration is from the first request's due time to the last answer.
	Duration float64 `json:"duration"`

	Requests Requests `json:"requests"`
	// AcceptedPerSecond counts the events answered 2xx, and LinkedPerSecond the
	// sets of links seen, each over the time from the first due request to the last
	// of its kind.
	AcceptedPerSecond float64 `json:"acceptedPerSecond"`
	LinkedPerSecond   float64 `json:"linkedPerSecond"`

	// Answer is from when a request was due to its 2xx.
	Answer Latency `json:"answer"`
	// Links is from an event's 2xx to its links being seen by a subscriber; links
	// that were seen before the answer count as 0.
	Links Latency `json:"links"`

	// Drain is from the start of a worker that came after the attack to the last
	// links; 0 for one that was there all the time.
	Drain float64 `json:"drain,omitempty"`

	// Series is what was seen in each second, for plots.
	Series []Sample `json:"series"`

	Parts  []Part `json:"parts"`
	Facade Facade `json:"facade"`
	// Kills counts the parts that --chaos killed.
	Kills int `json:"kills"`

	Reconciliation Reconciliation `json:"reconciliation"`
	Thresholds     []Threshold    `json:"thresholds,omitempty"`
}

// Machine is where a load test ran.
type Machine struct {
	OS   string `json:"os"`
	Arch string `json:"arch"`
	CPUs int    `json:"cpus"`
	Go   string `json:"go"`
}

// Requests counts what was sent to the webhook by its answer.
type Requests struct {
	Sent int `json:"sent"`
	// Accepted were answered 202, and Duplicates 200 with "duplicate".
	Accepted   int `json:"accepted"`
	Duplicates int `json:"duplicates"`
	// Refused were answered with another status, counted in Statuses.
	Refused  int         `json:"refused"`
	Statuses map[int]int `json:"statuses"`
	// Failed got no answer: whether they are stored is not known.
	Failed int `json:"failed"`
	// Late is how many began more than 10 ms after they were due.
	Late int `json:"late"`
}

// Latency is a distribution, in seconds.
type Latency struct {
	Count int     `json:"count"`
	Mean  float64 `json:"mean"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p999"`
	Max   float64 `json:"max"`
	// Curve are points of the percentile curve, by rising percentile.
	Curve []Point `json:"curve"`
}

// Point is one point of a percentile curve: Percentile of the values, from 0 to
// 100, are at most Value seconds.
type Point struct {
	Percentile float64 `json:"percentile"`
	Value      float64 `json:"value"`
}

// Sample is one second of a load test.
type Sample struct {
	// At is the second since the start, from 0.
	At int `json:"at"`
	// Sent, Accepted, Linked and Failed count what fell into it. Failed are refused
	// requests and those without an answer.
	Sent     int `json:"sent"`
	Accepted int `json:"accepted"`
	Linked   int `json:"linked"`
	Failed   int `json:"failed"`
	// InFlight are requests that wait for their answer, and Queue the events in the
	// queue, at the end of it; Queue is -1 where it was not known.
	InFlight int `json:"inFlight"`
	Queue    int `json:"queue"`
	// The latencies of what ended in it, in seconds; 0 where nothing did.
	AnswerP50 float64 `json:"answerP50"`
	AnswerP99 float64 `json:"answerP99"`
	LinksP50  float64 `json:"linksP50"`
	LinksP99  float64 `json:"linksP99"`
}

// Part is what one process used.
type Part struct {
	// Name is serve, webhook, worker, auvious, nats or load; several of one kind
	// are added up. In one process everything is "all".
	Name string `json:"name"`
	// CPUSeconds were used while the load lasted, until the last links.
	CPUSeconds float64 `json:"cpuSeconds"`
	// CPUPerThousand is that for 1,000 accepted events.
	CPUPerThousand float64 `json:"cpuPerThousand"`
	// PeakMemory is the most that was resident.
	PeakMemory int64 `json:"peakMemory"`
}

// Facade is what the simulated auvious counted.
type Facade struct {
	// Counted is false for another auvious, which does not count.
	Counted bool `json:"counted"`
	Calls   int  `json:"calls"`
	// Failed were not answered 2xx.
	Failed     int `json:"failed"`
	Rooms      int `json:"rooms"`
	TokenCalls int `json:"tokenCalls"`
	// TicketFetches must be 0.
	TicketFetches int `json:"ticketFetches"`
}

// Reconciliation holds what went in against what came out. It is done after the
// queue has run empty, or the wait for that has ended.
type Reconciliation struct {
	// Sent = Accepted + Refused + Unanswered, in conversations: however often one
	// was sent, it is accepted if any answer was 2xx, and refused if every answer
	// was a refusal.
	Sent       int `json:"sent"`
	Accepted   int `json:"accepted"`
	Refused    int `json:"refused"`
	Unanswered int `json:"unanswered"`
	// Linked and DeadLettered are those of Accepted; Missing have neither.
	Linked       int `json:"linked"`
	DeadLettered int `json:"deadLettered"`
	Missing      int `json:"missing"`
	// Doubles are conversations with more than one set of links of one generation.
	Doubles int `json:"doubles"`
	// Orphans are rooms that no links lead to, and OrphansAllowed how many crashes
	// and lost answers explain.
	Orphans        int `json:"orphans"`
	OrphansAllowed int `json:"orphansAllowed"`
	// Waiting is what the queue held at the end.
	Waiting int `json:"waiting"`
	// Faults says in sentences what does not add up; empty if all does.
	Faults []string `json:"faults,omitempty"`
}

// Threshold is a condition that was given by --fail.
type Threshold struct {
	// Expression is as it was given, such as "p99<500ms".
	Expression string `json:"expression"`
	// Found is the value that was compared, in seconds, in bytes or as a number.
	Found float64 `json:"found"`
	// Unknown says that there was nothing to compare, such as a latency of no links;
	// the condition is missed then.
	Unknown bool `json:"unknown,omitempty"`
	Met     bool `json:"met"`
}

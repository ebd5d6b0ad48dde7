package load

import "time"

// Result is the result of a load test. Its JSON is what "roomlink load --json" prints and --compare reads.
// Times are in seconds, sizes in bytes.
type Result struct {
	// Version is that of roomlink, Machine the machine that it ran on.
	Version   string    `json:"version"`
	Machine   Machine   `json:"machine"`
	StartedAt time.Time `json:"startedAt"`
	// Settings are the flags of the command line as they were written, by their names without dashes, such as
	// "rate" and "facade-latency".
	Settings map[string]string `json:"settings"`
	// Duration is the time from the first request's due time to the last response.
	Duration float64 `json:"duration"`

	Requests Requests `json:"requests"`
	// AcceptedPerSecond is the rate of 2xx answers, and LinkedPerSecond that of sets of links, each from the
	// first request's due time to the last of its kind.
	AcceptedPerSecond float64 `json:"acceptedPerSecond"`
	LinkedPerSecond   float64 `json:"linkedPerSecond"`

	// Answer is the latency from a request's due time to its 2xx answer.
	Answer Latency `json:"answer"`
	// Links is the latency from an event's 2xx answer until a subscriber sees its links. Links that come before
	// the answer count as 0.
	Links Latency `json:"links"`

	// Drain is the time from the start of a worker after the attack to the last links; 0 if the worker ran from
	// the beginning.
	Drain float64 `json:"drain,omitempty"`

	// Series has one sample for each second.
	Series []Sample `json:"series"`

	Parts  []Part `json:"parts"`
	Facade Facade `json:"facade"`
	// Kills is the number of parts that --chaos killed.
	Kills int `json:"kills"`

	Reconciliation Reconciliation `json:"reconciliation"`
	Thresholds     []Threshold    `json:"thresholds,omitempty"`
}

// Machine is the machine of a load test.
type Machine struct {
	OS   string `json:"os"`
	Arch string `json:"arch"`
	CPUs int    `json:"cpus"`
	Go   string `json:"go"`
}

// Requests counts the requests to the webhook by their responses.
type Requests struct {
	Sent int `json:"sent"`
	// Accepted were answered 202, and Duplicates 200 with the status "duplicate".
	Accepted   int `json:"accepted"`
	Duplicates int `json:"duplicates"`
	// Refused were answered with another status. Statuses counts them by status.
	Refused  int         `json:"refused"`
	Statuses map[int]int `json:"statuses"`
	// Failed got no response. The webhook may have stored them.
	Failed int `json:"failed"`
	// Late were sent more than 10 ms after they were due.
	Late int `json:"late"`
}

// Latency is a distribution of latencies, in seconds.
type Latency struct {
	Count int     `json:"count"`
	Mean  float64 `json:"mean"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p999"`
	Max   float64 `json:"max"`
	// Curve is the percentile curve, by rising percentile.
	Curve []Point `json:"curve"`
}

// Point is a point of a percentile curve: Percentile per cent of the latencies, from 0 to 100, are at most
// Value seconds.
type Point struct {
	Percentile float64 `json:"percentile"`
	Value      float64 `json:"value"`
}

// Sample is one second of a load test.
type Sample struct {
	// At is the number of the second, from 0.
	At int `json:"at"`
	// Sent, Accepted, Linked and Failed count the events of this second. Failed counts refused requests and
	// those without a response.
	Sent     int `json:"sent"`
	Accepted int `json:"accepted"`
	Linked   int `json:"linked"`
	Failed   int `json:"failed"`
	// InFlight is the number of requests under way at the end of the second, and Queue the number of events in
	// the queue; Queue is -1 if it is unknown.
	InFlight int `json:"inFlight"`
	Queue    int `json:"queue"`
	// The latencies that ended in this second, in seconds; 0 if none did.
	AnswerP50 float64 `json:"answerP50"`
	AnswerP99 float64 `json:"answerP99"`
	LinksP50  float64 `json:"linksP50"`
	LinksP99  float64 `json:"linksP99"`
}

// Part is what one process used.
type Part struct {
	// Name is serve, webhook, worker, auvious, nats or load; "all" if one process runs everything.
	Name string `json:"name"`
	// CPUSeconds is the CPU time from the start of the attack to the last links.
	CPUSeconds float64 `json:"cpuSeconds"`
	// CPUPerThousand is the CPU time per 1,000 accepted events.
	CPUPerThousand float64 `json:"cpuPerThousand"`
	// PeakMemory is the peak of the resident memory.
	PeakMemory int64 `json:"peakMemory"`
}

// Facade counts the calls of the simulated auvious.
type Facade struct {
	// Counted is false for another auvious, which counts nothing.
	Counted bool `json:"counted"`
	Calls   int  `json:"calls"`
	// Failed calls were not answered 2xx.
	Failed     int `json:"failed"`
	Rooms      int `json:"rooms"`
	TokenCalls int `json:"tokenCalls"`
	// TicketFetches must be 0.
	TicketFetches int `json:"ticketFetches"`
}

// Reconciliation compares the conversations that went in with those that came out, after the queue is empty or
// Run has given up waiting for that.
type Reconciliation struct {
	// Sent = Accepted + Refused + Unanswered. A conversation that was sent several times is accepted if any
	// response was 2xx, and refused if all were refusals.
	Sent       int `json:"sent"`
	Accepted   int `json:"accepted"`
	Refused    int `json:"refused"`
	Unanswered int `json:"unanswered"`
	// Accepted = Linked + DeadLettered + Missing. Missing have neither links nor a dead letter.
	Linked       int `json:"linked"`
	DeadLettered int `json:"deadLettered"`
	Missing      int `json:"missing"`
	// Doubles are conversations with more than one set of links of one generation.
	Doubles int `json:"doubles"`
	// Orphans are rooms without links, and OrphansAllowed the number of them that crashes and lost answers
	// explain.
	Orphans        int `json:"orphans"`
	OrphansAllowed int `json:"orphansAllowed"`
	// Waiting is the number of events in the queue at the end.
	Waiting int `json:"waiting"`
	// Faults are sentences about what does not add up; empty if everything does.
	Faults []string `json:"faults,omitempty"`
}

// Threshold is a condition of --fail with its verdict.
type Threshold struct {
	// Expression is the condition, such as "p99<500ms".
	Expression string `json:"expression"`
	// Found is the compared value, in Unit.
	Found float64 `json:"found"`
	Unit  Unit    `json:"-"`
	// Unknown reports that there was no value to compare, such as a latency without links. The condition is
	// missed then.
	Unknown bool `json:"unknown,omitempty"`
	Met     bool `json:"met"`
}

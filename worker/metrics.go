package worker

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"roomlink/internal/telemetry"
	"roomlink/messages"
	"roomlink/worker/auvious"
)

// labelAccount is a label of nearly every metric.
const labelAccount = "account"

// The closed lists of labels. Every series exists from the start.
var (
	settledOutcomes = []string{"linked", "already_linked", "already_held", "retried", "dead_lettered", "handed_back"}
	orphanCauses    = []string{unknownOutcome, "bad_gateway", "redelivery", "raced", "not_stored"}
	hostPlaces      = []string{"url_base", "links"}
	statusClasses   = []string{"2xx", "3xx", "4xx", "5xx", "other", "none"}
	fetchOutcomes   = []string{"fetched", "failed"}
	// breakerReasons are the outcomes of calls that a breaker counts as failures.
	breakerReasons = []string{"account_refused", notDone, unknownOutcome}
)

// callOutcomes returns the outcomes of calls in the table of policies.
func callOutcomes() []string {
	var outcomes []string
	for _, p := range policies {
		if p.label != "" {
			outcomes = append(outcomes, p.label)
		}
	}
	return outcomes
}

// metrics are the metrics of all accounts.
type metrics struct {
	labels *telemetry.AccountLabels

	settled     *prometheus.CounterVec
	calls       *prometheus.CounterVec
	answers     *prometheus.CounterVec
	failures    *prometheus.CounterVec
	fetches     *prometheus.CounterVec
	callTime    *prometheus.HistogramVec
	latency     *prometheus.HistogramVec
	phases      [len(phaseNames)]prometheus.Observer
	inFlight    *prometheus.GaugeVec
	orphans     *prometheus.CounterVec
	deadLetters *prometheus.CounterVec

	unexpectedHosts *prometheus.CounterVec
}

// accountMetrics are the metrics of one account.
type accountMetrics struct {
	settled     *prometheus.CounterVec
	calls       *prometheus.CounterVec
	answers     *prometheus.CounterVec
	failures    *prometheus.CounterVec
	fetches     *prometheus.CounterVec
	callTime    prometheus.Observer
	latency     prometheus.Observer
	phases      [len(phaseNames)]prometheus.Observer
	inFlight    prometheus.Gauge
	orphans     *prometheus.CounterVec
	deadLetters *prometheus.CounterVec

	unexpectedHosts *prometheus.CounterVec
}

// The buckets are in seconds.
var (
	// callBuckets are dense around the usual time of a call. By default, a call ends after 10 s.
	callBuckets = []float64{.005, .01, .02, .03, .05, .08, .12, .2, .35, .6, 1, 2, 4, 6, 8, 10, 15, 30}
	// latencyBuckets end at the default give-up time.
	latencyBuckets = []float64{.005, .01, .02, .03, .05, .08, .12, .2, .35, .6, 1, 2, 4, 8, 15, 30, 60, 300, 900}
	// phaseBuckets begin at the time of one request to the broker.
	phaseBuckets = []float64{.0001, .0002, .0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30, 60, 300, 900}
)

func newMetrics(registerer prometheus.Registerer, labels *telemetry.AccountLabels) *metrics {
	auto := promauto.With(registerer)
	account := []string{labelAccount}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return auto.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help + " Sum over processes."}, append(account, labels...))
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return auto.NewHistogramVec(prometheus.HistogramOpts{
			Name: name, Help: help + " Sum over processes.", Buckets: buckets,
		}, labels)
	}
	m := &metrics{
		labels: labels,
		settled: counter("roomlink_events_settled_total",
			"Deliveries of events by outcome: linked, already_linked, already_held, retried, dead_lettered, handed_back.", "outcome"),
		calls: counter("roomlink_facade_calls_total",
			"Calls to the room facade by outcome: created, rejected, bad_answer, account_refused, not_done, unknown_outcome.", "outcome"),
		answers: counter("roomlink_facade_answers_total",
			"Calls to the room facade by class of the HTTP status: 2xx, 3xx, 4xx, 5xx, other; none if no answer came.", "status"),
		failures: counter("roomlink_facade_failures_total",
			"Failed calls of the token endpoint and of the room facade, by endpoint (token, room) and by what came.",
			"endpoint", "cause"),
		fetches: counter("roomlink_token_fetches_total",
			"Fetches of an auvious access token by outcome: fetched, failed.", "outcome"),
		callTime: histogram("roomlink_facade_call_duration_seconds",
			"Duration of a call to the room facade, including the fetch of a token.", callBuckets, labelAccount),
		latency: histogram("roomlink_links_latency_seconds",
			"Time from the acceptance of an event until its links were stored.", latencyBuckets, labelAccount),
		inFlight: auto.NewGaugeVec(prometheus.GaugeOpts{
			Name: "roomlink_events_in_flight", Help: "Events that this process works on. Sum over processes.",
		}, account),
		orphans: counter("roomlink_orphans_possible_total",
			"Rooms that may exist without stored links, by cause: unknown_outcome, bad_gateway, redelivery, raced, not_stored.", "cause"),
		deadLetters: counter("roomlink_dead_letters_total",
			"Events that became dead letters, by reason.", "reason"),
		unexpectedHosts: counter("roomlink_unexpected_link_hosts_total",
			"Rooms with an unexpected host, by place: url_base, links. ROOMLINK_LINK_HOSTS refuses such links.", "place"),
	}
	phases := histogram("roomlink_links_phase_seconds",
		"Parts of the time from the acceptance of an event until its links were stored, by phase: queue (waiting), lookup "+
			"(looking for stored links), token (waiting for an access token), facade (calling the room facade), store.",
		phaseBuckets, "phase")
	for i, phase := range phaseNames {
		m.phases[i] = phases.WithLabelValues(phase)
	}
	return m
}

// The worker collects these itself, because accounts come and go. A replaced account's breaker may still change.
var (
	tokenAge = prometheus.NewDesc("roomlink_token_age_seconds",
		"Age of the current auvious access token in seconds; 0 without one. Take the maximum over processes.",
		[]string{labelAccount}, nil)
	breakerState = prometheus.NewDesc("roomlink_breaker_state",
		"State of the account's breaker: 0 closed, 1 half-open, 2 open. Take the maximum over processes.",
		[]string{labelAccount}, nil)
	breakerReason = prometheus.NewDesc("roomlink_breaker_reason",
		"1 for the outcome of a call (account_refused, not_done, unknown_outcome) for which the breaker is not closed, else "+
			"0. Take the maximum over processes.", []string{labelAccount, "reason"}, nil)
	breakerSince = prometheus.NewDesc("roomlink_breaker_open_since_timestamp_seconds",
		"Unix time since which the breaker is not closed; 0 if it is closed. Take the maximum over processes.",
		[]string{labelAccount}, nil)
	callsInFlight = prometheus.NewDesc("roomlink_facade_calls_in_flight",
		"Events that are at auvious, or whose links are being stored. Sum over processes.", []string{labelAccount}, nil)
	callsLimit = prometheus.NewDesc("roomlink_facade_calls_limit",
		"The limit of roomlink_facade_calls_in_flight (ROOMLINK_CONCURRENCY). Sum over processes.", []string{labelAccount}, nil)
)

// forget deletes a removed account's gauge. Counters stay, as usual.
func (m *metrics) forget(account string) {
	if label := m.labels.Of(account); label == account {
		m.inFlight.DeleteLabelValues(label)
	}
}

// of returns the metrics of an account, and makes all its series.
func (m *metrics) of(account string) accountMetrics {
	label := prometheus.Labels{labelAccount: m.labels.Of(account)}
	curried := func(counters *prometheus.CounterVec, values ...string) *prometheus.CounterVec {
		counters = counters.MustCurryWith(label)
		for _, value := range values {
			counters.WithLabelValues(value)
		}
		return counters
	}
	made := accountMetrics{
		settled:     curried(m.settled, settledOutcomes...),
		calls:       curried(m.calls, callOutcomes()...),
		answers:     curried(m.answers, statusClasses...),
		failures:    curried(m.failures),
		fetches:     curried(m.fetches, fetchOutcomes...),
		callTime:    m.callTime.With(label),
		latency:     m.latency.With(label),
		phases:      m.phases,
		inFlight:    m.inFlight.With(label),
		orphans:     curried(m.orphans, orphanCauses...),
		deadLetters: curried(m.deadLetters, messages.Reasons()...),

		unexpectedHosts: curried(m.unexpectedHosts, hostPlaces...),
	}
	for _, endpoint := range []auvious.Endpoint{auvious.TokenEndpoint, auvious.RoomEndpoint} {
		for _, cause := range auvious.Causes() {
			made.failures.WithLabelValues(string(endpoint), string(cause))
		}
	}
	return made
}

// statusClass returns the class of an HTTP status; "none" for 0.
func statusClass(status int) string {
	switch class := status / 100; {
	case status == 0:
		return "none"
	case class >= 2 && class <= 5:
		return strconv.Itoa(class) + "xx"
	}
	return "other"
}

// gauges are the values that the worker collects of accounts with the same label.
type gauges struct {
	tokenAge, breaker, since float64
	reasons                  map[string]bool
	calls, limit             int
}

// add adds an account: it sums the calls and takes the maximum of the others.
func (g *gauges) add(a *account) {
	g.tokenAge = max(g.tokenAge, a.Facade.TokenAge().Seconds())
	g.breaker = max(g.breaker, a.breaker.value())
	if since := a.breaker.openSince(); !since.IsZero() {
		g.since = max(g.since, float64(since.UnixNano())/1e9)
		g.reasons[a.breaker.reason()] = true
	}
	g.calls += len(a.calls)
	g.limit += cap(a.calls)
}

// Describe implements [prometheus.Collector].
func (w *Worker) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{tokenAge, breakerState, breakerReason, breakerSince, callsInFlight, callsLimit} {
		out <- desc
	}
}

// Collect implements [prometheus.Collector].
func (w *Worker) Collect(out chan<- prometheus.Metric) {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := map[string]*gauges{}
	for name, a := range w.accounts {
		label := w.metrics.labels.Of(name)
		if all[label] == nil {
			all[label] = &gauges{reasons: map[string]bool{}}
		}
		all[label].add(a)
	}
	for label, g := range all {
		gauge := func(desc *prometheus.Desc, value float64, more ...string) {
			out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, append([]string{label}, more...)...)
		}
		gauge(tokenAge, g.tokenAge)
		gauge(breakerState, g.breaker)
		gauge(breakerSince, g.since)
		gauge(callsInFlight, float64(g.calls))
		gauge(callsLimit, float64(g.limit))
		for _, reason := range breakerReasons {
			value := 0.0
			if g.reasons[reason] {
				value = 1
			}
			gauge(breakerReason, value, reason)
		}
	}
}

package telemetry

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"roomlink/internal/store"
	"roomlink/messages"
)

// collectTimeout bounds the requests of one collection.
const collectTimeout = 3 * time.Second

// The labels of metrics.
const (
	labelAccount = "account"
	labelStream  = "stream"
)

// The readings of a [Queue], beside the streams.
const (
	readingQueue       = "queue"
	readingDeadLetters = "dead_letters"
)

var (
	brokerConnected = prometheus.NewDesc("roomlink_broker_connected",
		"1 if all connections of this process to the broker stand, else 0. Take the minimum over processes.", nil, nil)
	readingSuccess = prometheus.NewDesc("roomlink_reading_success",
		"1 if the last reading from the broker succeeded, else 0: then its metrics are the last known. Readings are the "+
			"streams, queue and dead_letters. Take the minimum over processes.", []string{"reading"}, nil)
	queueEvents = prometheus.NewDesc("roomlink_queue_events",
		"Events in the queue, waiting or in progress. Take the maximum over processes.", []string{labelAccount}, nil)
	queueOldest = prometheus.NewDesc("roomlink_queue_oldest_age_seconds",
		"Age of the oldest event in the queue in seconds; 0 if the queue is empty. Take the maximum over processes.",
		[]string{labelAccount}, nil)
	queueUnclaimed = prometheus.NewDesc("roomlink_queue_unclaimed_events",
		"Events in the queue of accounts that this process has no configuration for. Take the minimum over processes.", nil, nil)
	deadLetters = prometheus.NewDesc("roomlink_dead_letters",
		"Dead letters that stand, by reason. An account that is not configured is \"other\". Take the maximum over processes.",
		[]string{labelAccount, "reason"}, nil)
	storedMessages = prometheus.NewDesc("roomlink_stream_messages",
		"Messages in a stream. Take the maximum over processes.", []string{labelStream}, nil)
	storedBytes = prometheus.NewDesc("roomlink_stream_bytes",
		"Size of a stream in bytes. Take the maximum over processes.", []string{labelStream}, nil)
	limitBytes = prometheus.NewDesc("roomlink_stream_limit_bytes",
		"Largest size of a stream in bytes; 0 for no limit. Take the maximum over processes.", []string{labelStream}, nil)
)

// Queue collects the metrics of the streams from the broker on each scrape. What it cannot read keeps its last value, and
// 0 before the first.
type Queue struct {
	config   QueueConfig
	standing *store.Standing

	mu sync.Mutex
	// streams are the last readings by stream, and queue and dead the others, by label.
	streams   map[string]streamReading
	queue     map[string]queueReading
	unclaimed uint64
	dead      map[store.StandingKey]int
}

// QueueConfig configures a [Queue].
type QueueConfig struct {
	Store    *store.Store
	Accounts func() []string
	Labels   *AccountLabels
	// Connected reports whether the broker is connected.
	Connected func() bool
	// StreamsOnly leaves out what only the user of a worker may read: the queue by account, and the dead letters.
	StreamsOnly bool
	Logger      zerolog.Logger
}

type streamReading struct{ messages, bytes, limit uint64 }

type queueReading struct {
	events uint64
	oldest time.Duration
}

var _ prometheus.Collector = (*Queue)(nil)

// NewQueue returns a collector.
func NewQueue(config QueueConfig) *Queue {
	return &Queue{
		config: config, standing: store.NewStanding(config.Store),
		streams: map[string]streamReading{}, queue: map[string]queueReading{}, dead: map[store.StandingKey]int{},
	}
}

// Describe implements [prometheus.Collector].
func (q *Queue) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{
		brokerConnected, readingSuccess, queueEvents, queueOldest, queueUnclaimed, deadLetters, storedMessages, storedBytes,
		limitBytes,
	} {
		out <- desc
	}
}

// Collect implements [prometheus.Collector].
func (q *Queue) Collect(out chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	connected := q.config.Connected()
	gauge(brokerConnected, number(connected))
	for reading, success := range q.read(connected) {
		gauge(readingSuccess, number(success), reading)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, name := range streamNames {
		gauge(storedMessages, float64(q.streams[name].messages), name)
		gauge(storedBytes, float64(q.streams[name].bytes), name)
		gauge(limitBytes, float64(q.streams[name].limit), name)
	}
	if q.config.StreamsOnly {
		return
	}
	labels := map[string]bool{}
	for _, account := range q.config.Accounts() {
		labels[q.config.Labels.Of(account)] = true
	}
	for label := range labels {
		gauge(queueEvents, float64(q.queue[label].events), label)
		gauge(queueOldest, q.queue[label].oldest.Seconds(), label)
	}
	gauge(queueUnclaimed, float64(q.unclaimed))
	labels[OtherAccounts] = true
	for label := range labels {
		for _, reason := range append(messages.Reasons(), store.ReasonOther) {
			gauge(deadLetters, float64(q.dead[store.StandingKey{Account: label, Reason: reason}]), label, reason)
		}
	}
}

func number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// streamNames are the streams.
var streamNames = []string{messages.ConversationsStream, messages.LinksStream, messages.DeadLettersStream}

// read reads everything at once, each independently of the others, and reports what succeeded.
func (q *Queue) read(connected bool) map[string]bool {
	readings := map[string]func(context.Context) error{}
	for _, name := range streamNames {
		readings[name] = func(ctx context.Context) error { return q.readStream(ctx, name) }
	}
	if !q.config.StreamsOnly {
		readings[readingQueue], readings[readingDeadLetters] = q.readQueue, q.readDeadLetters
	}
	ctx, cancel := context.WithTimeout(context.Background(), collectTimeout)
	defer cancel()
	var mu sync.Mutex
	var running sync.WaitGroup
	success := map[string]bool{}
	for name := range readings {
		success[name] = false
	}
	if !connected {
		return success
	}
	for name, read := range readings {
		running.Go(func() {
			err := read(ctx)
			if err != nil {
				q.config.Logger.Debug().Err(err).Str("reading", name).Msg("collecting metrics from the broker failed")
			}
			mu.Lock()
			defer mu.Unlock()
			success[name] = err == nil
		})
	}
	running.Wait()
	return success
}

func (q *Queue) readStream(ctx context.Context, name string) error {
	info, err := q.config.Store.StreamInfo(ctx, name)
	if err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.streams[name] = streamReading{info.State.Msgs, info.State.Bytes, uint64(max(info.Config.MaxBytes, 0))}
	return nil
}

func (q *Queue) readQueue(ctx context.Context) error {
	state, err := q.config.Store.StreamState(ctx, messages.ConversationsStream)
	if err != nil {
		return err
	}
	consumers, err := q.config.Store.Consumers(ctx)
	if err != nil {
		return err
	}
	depths := map[string]uint64{}
	for _, consumer := range consumers {
		depths[consumer.Account] = consumer.Depth
	}
	unclaimed, queue := state.Msgs, map[string]queueReading{}
	for _, account := range q.config.Accounts() {
		depth, oldest := depths[account], time.Duration(0)
		if depth > 0 { // most accounts have no events, and need no request of their own
			if depth, oldest, err = q.config.Store.Depth(ctx, account, time.Now()); err != nil {
				return err
			}
		}
		unclaimed -= min(unclaimed, depth)
		label := q.config.Labels.Of(account)
		queue[label] = queueReading{queue[label].events + depth, max(queue[label].oldest, oldest)}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.unclaimed, q.queue = unclaimed, queue
	return nil
}

func (q *Queue) readDeadLetters(ctx context.Context) error {
	counts, err := q.standing.Count(ctx)
	if err != nil {
		return err
	}
	configured := map[string]bool{}
	for _, account := range q.config.Accounts() {
		configured[account] = true
	}
	dead := map[store.StandingKey]int{}
	for key, count := range counts {
		label := OtherAccounts
		if configured[key.Account] {
			label = q.config.Labels.Of(key.Account)
		}
		dead[store.StandingKey{Account: label, Reason: key.Reason}] += count
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.dead = dead
	return nil
}

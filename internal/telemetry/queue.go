package telemetry

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"roomlink/internal/store"
	"roomlink/messages"
)

// collectTimeout bounds the requests of one collection.
const collectTimeout = 3 * time.Second

var (
	queueEvents = prometheus.NewDesc("roomlink_queue_events",
		"Events in the queue, waiting or in progress.", []string{"account"}, nil)
	queueOldest = prometheus.NewDesc("roomlink_queue_oldest_age_seconds",
		"Age of the oldest event in the queue in seconds; 0 if the queue is empty.", []string{"account"}, nil)
	queueUnclaimed = prometheus.NewDesc("roomlink_queue_unclaimed_events",
		"Events in the queue of accounts that this process has no configuration for.", nil, nil)
	storedMessages = prometheus.NewDesc("roomlink_stream_messages",
		"Messages in a stream.", []string{"stream"}, nil)
	storedBytes = prometheus.NewDesc("roomlink_stream_bytes",
		"Size of a stream in bytes.", []string{"stream"}, nil)
)

// Queue collects the metrics of the streams from the broker on each scrape. It omits them if
// the broker does not answer.
type Queue struct {
	Store    *store.Store
	Accounts func() []string
	Logger   zerolog.Logger
}

var _ prometheus.Collector = (*Queue)(nil)

// Describe implements [prometheus.Collector].
func (q *Queue) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{queueEvents, queueOldest, queueUnclaimed, storedMessages, storedBytes} {
		out <- desc
	}
}

// Collect implements [prometheus.Collector].
func (q *Queue) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), collectTimeout)
	defer cancel()
	if err := q.collect(ctx, out); err != nil {
		q.Logger.Debug().Err(err).Msg("collecting queue metrics failed")
	}
}

func (q *Queue) collect(ctx context.Context, out chan<- prometheus.Metric) error {
	var total uint64
	for _, name := range []string{messages.ConversationsStream, messages.LinksStream, messages.DeadLettersStream} {
		state, err := q.Store.StreamState(ctx, name)
		if err != nil {
			return err
		}
		if name == messages.ConversationsStream {
			total = state.Msgs
		}
		out <- prometheus.MustNewConstMetric(storedMessages, prometheus.GaugeValue, float64(state.Msgs), name)
		out <- prometheus.MustNewConstMetric(storedBytes, prometheus.GaugeValue, float64(state.Bytes), name)
	}
	consumers, err := q.Store.Consumers(ctx)
	if err != nil {
		return err
	}
	depths := map[string]uint64{}
	for _, consumer := range consumers {
		depths[consumer.Account] = consumer.Depth
	}
	for _, account := range q.Accounts() {
		depth, oldest := depths[account], time.Duration(0)
		if depth > 0 { // most accounts have no events, and need no request of their own
			if depth, oldest, err = q.Store.Depth(ctx, account, time.Now()); err != nil {
				return err
			}
		}
		total -= min(total, depth)
		out <- prometheus.MustNewConstMetric(queueEvents, prometheus.GaugeValue, float64(depth), account)
		out <- prometheus.MustNewConstMetric(queueOldest, prometheus.GaugeValue, oldest.Seconds(), account)
	}
	out <- prometheus.MustNewConstMetric(queueUnclaimed, prometheus.GaugeValue, float64(total))
	return nil
}

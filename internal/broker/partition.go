package broker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"roomlink/internal/backoff"
	"roomlink/messages"
)

const (
	checkInterval = 2 * time.Second
	checkTimeout  = 2 * time.Second
	// maxMisses is the number of failed checks in a row after which a connection leaves its
	// server. After fewer, the cluster may still be electing a new leader.
	maxMisses = 2
	// followerTimeout is how long ago the leader has heard from a follower that counts as
	// lost. Followers answer every second.
	followerTimeout = 4 * time.Second
)

// leaveBackoff is the minimum time between two servers that a connection leaves. Without a
// quorum anywhere, the next server is no better.
var leaveBackoff = backoff.Backoff{Min: 10 * time.Second, Max: time.Minute}

// errNoQuorum means that too few servers of a stream are in contact to store anything.
var errNoQuorum = errors.New("no quorum")

// partitionWatcher makes a connection leave a server that a network partition separates from
// its cluster. Such a server still answers pings, so the client sees a good connection, but
// it can neither store nor deliver messages.
type partitionWatcher struct {
	js     jetstream.JetStream
	log    zerolog.Logger
	misses int
	// left is when the connection left a server, and leaves counts the servers left since the
	// last good check.
	left   time.Time
	leaves uint64
}

func (w *partitionWatcher) run(ctx context.Context) {
	ticker := time.NewTicker(checkInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			w.check(ctx)
		}
	}
}

// check leaves the server if too many checks in a row have failed. A server without a cluster
// is never left.
func (w *partitionWatcher) check(ctx context.Context) {
	nc := w.js.Conn()
	if !nc.IsConnected() || nc.ConnectedClusterName() == "" {
		w.misses = 0
		return
	}
	err := w.readQuorum(ctx)
	switch {
	case ctx.Err() != nil:
		return
	case err == nil:
		w.misses, w.leaves = 0, 0
		return
	case !nc.IsConnected():
		w.misses = 0
		return
	}
	w.misses++
	if w.misses < maxMisses || time.Since(w.left) < leaveBackoff.Delay(w.leaves) {
		return
	}
	w.misses, w.left = 0, time.Now()
	w.leaves++
	w.log.Warn().Err(err).Str("server", WithoutCredentials(nc.ConnectedUrl())).Msg("broker server has no quorum: reconnecting to another")
	if err := nc.ForceReconnect(); err != nil {
		w.log.Warn().Err(err).Msg("reconnecting failed")
	}
}

// readQuorum returns nil if the leader of the queue is reachable through this server and has
// a quorum. If the cluster answers that the stream does not exist, it has a quorum.
func (w *partitionWatcher) readQuorum(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	stream, err := w.js.Stream(ctx, messages.ConversationsStream)
	if err == nil {
		return checkQuorum(stream.CachedInfo().Cluster)
	}
	if refusal, ok := errors.AsType[*jetstream.APIError](err); ok && refusal.Code != http.StatusServiceUnavailable {
		return nil
	}
	return fmt.Errorf("reading stream %q: %w", messages.ConversationsStream, err)
}

// checkQuorum returns nil if a majority of a stream's servers are in contact. A leader that
// has lost its quorum still answers for a while, and reports how long its followers have been
// silent.
func checkQuorum(cluster *jetstream.ClusterInfo) error {
	if cluster == nil {
		return nil
	}
	lost := 0
	for _, follower := range cluster.Replicas {
		if follower.Offline || follower.Active > followerTimeout {
			lost++
		}
	}
	if servers := 1 + len(cluster.Replicas); cluster.Leader == "" || 2*(servers-lost) <= servers {
		return fmt.Errorf("%w: %d of the stream's %d servers are lost, and the leader is %q",
			errNoQuorum, lost, servers, cluster.Leader)
	}
	return nil
}

package broker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"roomlink/messages"
)

const (
	// askEvery is how often the queue is asked for through a server of a cluster, and
	// askWithin how long it may take to answer.
	askEvery  = 2 * time.Second
	askWithin = 2 * time.Second
	// missesMost is how often in a row it may be out of reach. Others elect a new
	// leader within seconds, and then nothing is gained by leaving.
	missesMost = 2
	// silentAfter is how long ago a follower was heard of that is taken for gone; it
	// answers its leader every second.
	silentAfter = 4 * time.Second
	// firstLeave and lastLeave bound the time between two servers that a connection
	// leaves.
	firstLeave = 10 * time.Second
	lastLeave  = time.Minute
)

// errNoQuorum says that a stream can store nothing, for want of servers.
var errNoQuorum = errors.New("no quorum")

// lookout has a connection leave a server that is cut off from the others of its
// cluster. Such a server answers pings, and so the connection seems well, but
// nothing can be stored through it, nor pulled.
type lookout struct {
	nc     *nats.Conn
	js     jetstream.JetStream
	log    zerolog.Logger
	misses int
	left   time.Time
	// wait is how long after one server the next may be left, which begins anew with
	// one that is of use.
	wait time.Duration
}

func newLookout(js jetstream.JetStream, log zerolog.Logger) *lookout {
	return &lookout{nc: js.Conn(), js: js, log: log, wait: firstLeave}
}

func (l *lookout) run(ctx context.Context) {
	ticker := time.NewTicker(askEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			l.look(ctx)
		}
	}
}

// look asks once, and leaves the server if it has been out of reach too often. A
// server without a cluster has no other to go to.
func (l *lookout) look(ctx context.Context) {
	if !l.nc.IsConnected() || l.nc.ConnectedClusterName() == "" {
		l.misses = 0
		return
	}
	err := l.ask(ctx)
	switch {
	case ctx.Err() != nil:
		return
	case err == nil:
		l.misses, l.wait = 0, firstLeave
		return
	case !l.nc.IsConnected():
		l.misses = 0
		return
	}
	l.misses++
	if l.misses < missesMost || time.Since(l.left) < l.wait {
		return
	}
	if !l.left.IsZero() {
		// When nobody can store anything, it is as bad at the next server and the one
		// after, and they are left ever more slowly.
		l.wait = min(2*l.wait, lastLeave)
	}
	l.misses, l.left = 0, time.Now()
	l.log.Warn().Err(err).Str("server", l.nc.ConnectedUrlRedacted()).Msg("broker server cannot store: going to another one")
	if err := l.nc.ForceReconnect(); err != nil {
		l.log.Warn().Err(err).Msg("broker server not left")
	}
}

// ask returns nil if the queue's leader can be reached through this server, and can
// store. An answer that the queue is not there is one from those who know.
func (l *lookout) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	stream, err := l.js.Stream(ctx, messages.ConversationsStream)
	var refusal *jetstream.APIError
	switch {
	case err == nil:
		return quorum(stream.CachedInfo().Cluster)
	case errors.As(err, &refusal) && refusal.Code != http.StatusServiceUnavailable:
		return nil
	}
	return fmt.Errorf("reading stream %q: %w", messages.ConversationsStream, err)
}

// quorum returns nil if most of a stream's servers are in touch. A leader that was cut
// off goes on answering for a while, and says of whom it has not heard.
func quorum(cluster *jetstream.ClusterInfo) error {
	if cluster == nil {
		return nil
	}
	silent := 0
	for _, follower := range cluster.Replicas {
		if follower.Offline || follower.Active > silentAfter {
			silent++
		}
	}
	if servers := 1 + len(cluster.Replicas); cluster.Leader == "" || 2*(servers-silent) <= servers {
		return fmt.Errorf("%w: of %d servers with the queue, %d are silent, and %q leads",
			errNoQuorum, servers, silent, cluster.Leader)
	}
	return nil
}

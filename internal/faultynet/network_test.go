package faultynet_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// toxic is something that goes wrong, as toxiproxy takes it.
type toxic struct {
	Type       string         `json:"type"`
	Stream     string         `json:"stream"` // upstream is from us
	Attributes map[string]int `json:"attributes"`
}

// both has the same go wrong in both directions.
func both(kind string, attributes map[string]int) []toxic {
	return []toxic{{kind, "upstream", attributes}, {kind, "downstream", attributes}}
}

// blackHole swallows all that comes, and leaves the connections open.
func blackHole() []toxic { return both("timeout", map[string]int{"timeout": 0}) }

// network is what lies between us and a server.
type network struct {
	tb    testing.TB
	proxy *toxiproxy.Proxy
}

// newNetwork leads to an address, host and port.
func newNetwork(tb testing.TB, to string) *network {
	tb.Helper()
	api := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	n := &network{tb, toxiproxy.NewProxy(api, tb.Name(), "127.0.0.1:0", to)}
	n.open()
	tb.Cleanup(n.proxy.Stop)
	return n
}

// address of our end.
func (n *network) address() string { return n.proxy.Listen }

// lead has connections lead to another address from now on, while it is cut.
func (n *network) lead(to string) (before string) {
	before = n.proxy.Upstream
	n.proxy.Upstream = to
	return before
}

// mute listens, and never says a word.
func mute(tb testing.TB) (address string) {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("listening: %v", err)
	}
	tb.Cleanup(func() { _ = listener.Close() })
	return listener.Addr().String()
}

// suffer has the network suffer from something more.
func (n *network) suffer(toxics ...toxic) {
	n.tb.Helper()
	for _, t := range toxics {
		text, err := json.Marshal(t)
		if err != nil {
			n.tb.Fatalf("encoding a toxic: %v", err)
		}
		if _, err := n.proxy.Toxics.AddToxicJson(bytes.NewReader(text)); err != nil {
			n.tb.Fatalf("adding %s: %v", text, err)
		}
	}
}

// heal ends all that goes wrong. What a black hole held is lost, and its
// connections end.
func (n *network) heal() { n.proxy.Toxics.ResetToxics(context.Background()) }

// cut ends all connections and refuses others.
func (n *network) cut() { n.proxy.Stop() }

// open lets connections through.
func (n *network) open() {
	n.tb.Helper()
	if err := n.proxy.Start(); err != nil {
		n.tb.Fatalf("starting a proxy: %v", err)
	}
}

// logbook wakes whoever waits for the next line of the log.
type logbook struct {
	mu      sync.Mutex
	written chan struct{}
	text    bytes.Buffer
}

var _ io.Writer = (*logbook)(nil)

func newLogbook() *logbook { return &logbook{written: make(chan struct{})} }

// Write implements [io.Writer].
func (l *logbook) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.written)
	l.written = make(chan struct{})
	return l.text.Write(line)
}

func (l *logbook) next() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.written
}

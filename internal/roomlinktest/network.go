package roomlinktest

import (
	"bytes"
	"context"
	"encoding/json"
	"sync"
	"testing"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
	globallog "github.com/rs/zerolog/log"
)

// Toxic is one fault of a network, as toxiproxy defines it. [Downstream] and
// [BothWays] create toxics.
type Toxic struct {
	Type       string         `json:"type"`
	Stream     string         `json:"stream"`
	Attributes map[string]int `json:"attributes"`
}

// Downstream returns a fault on the way back from the server.
func Downstream(kind string, attributes map[string]int) Toxic {
	return Toxic{kind, "downstream", attributes}
}

// BothWays returns the same fault for both directions: upstream, then downstream.
func BothWays(kind string, attributes map[string]int) []Toxic {
	return []Toxic{{kind, "upstream", attributes}, Downstream(kind, attributes)}
}

// BlackHole drops all data in both directions and keeps the connections open.
func BlackHole() []Toxic { return BothWays("timeout", map[string]int{"timeout": 0}) }

// Network is a network between clients and a server.
type Network struct {
	tb    testing.TB
	proxy *toxiproxy.Proxy
}

// silence silences zerolog's global logger, which toxics write to.
var silence = sync.OnceFunc(func() { globallog.Logger = zerolog.Nop() })

// NewNetwork returns a network that leads to an address (host and port) until the test
// ends. No server needs to listen there yet.
func NewNetwork(tb testing.TB, server string) *Network {
	tb.Helper()
	silence()
	api := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	n := &Network{tb, toxiproxy.NewProxy(api, tb.Name(), "127.0.0.1:0", server)}
	n.Open()
	tb.Cleanup(n.proxy.Stop)
	return n
}

// Address returns the address for clients.
func (n *Network) Address() string { return n.proxy.Listen }

// Redirect makes new connections lead to another server, and returns the address of the
// former one. The network must be cut.
func (n *Network) Redirect(server string) (former string) {
	former = n.proxy.Upstream
	n.proxy.Upstream = server
	return former
}

// AddToxics adds faults to the network.
func (n *Network) AddToxics(toxics ...Toxic) {
	n.tb.Helper()
	for _, toxic := range toxics {
		text, err := json.Marshal(toxic)
		if err != nil {
			n.tb.Fatalf("encoding a toxic: %v", err)
		}
		if _, err := n.proxy.Toxics.AddToxicJson(bytes.NewReader(text)); err != nil {
			n.tb.Fatalf("adding toxic %s: %v", text, err)
		}
	}
}

// RemoveToxics removes all faults. The connections of a black hole end, and their data is
// lost.
func (n *Network) RemoveToxics() { n.proxy.Toxics.ResetToxics(context.Background()) }

// Cut ends all connections and refuses new ones.
func (n *Network) Cut() { n.proxy.Stop() }

// Open accepts connections again.
func (n *Network) Open() {
	n.tb.Helper()
	if err := n.proxy.Start(); err != nil {
		n.tb.Fatalf("starting a proxy: %v", err)
	}
}

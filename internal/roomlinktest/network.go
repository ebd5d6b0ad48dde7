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

// Toxic is something that goes wrong, as toxiproxy takes it. [There], [Back] and
// [Both] make them.
type Toxic struct {
	Type       string         `json:"type"`
	Stream     string         `json:"stream"`
	Attributes map[string]int `json:"attributes"`
}

// There has something go wrong on the way to the server.
func There(kind string, attributes map[string]int) Toxic { return Toxic{kind, "upstream", attributes} }

// Back has something go wrong on the way back.
func Back(kind string, attributes map[string]int) Toxic { return Toxic{kind, "downstream", attributes} }

// Both has the same go wrong in both directions: there first, then back.
func Both(kind string, attributes map[string]int) []Toxic {
	return []Toxic{There(kind, attributes), Back(kind, attributes)}
}

// BlackHole swallows all that comes, and leaves the connections open, on
// the way there and on the way back.
func BlackHole() []Toxic { return Both("timeout", map[string]int{"timeout": 0}) }

// Network is what lies before a server.
type Network struct {
	tb    testing.TB
	proxy *toxiproxy.Proxy
}

// silence has the toxics that write to zerolog's global logger write nothing.
var silence = sync.OnceFunc(func() { globallog.Logger = zerolog.Nop() })

// NewNetwork leads to an address, host and port, for the length of a test. Nobody needs to
// listen there yet.
func NewNetwork(tb testing.TB, to string) *Network {
	tb.Helper()
	silence()
	api := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	n := &Network{tb, toxiproxy.NewProxy(api, tb.Name(), "127.0.0.1:0", to)}
	n.Open()
	tb.Cleanup(n.proxy.Stop)
	return n
}

// Address is this end of the network.
func (n *Network) Address() string { return n.proxy.Listen }

// Lead has connections lead to another address from now on, and returns the one
// before. The network must be cut.
func (n *Network) Lead(to string) (before string) {
	before = n.proxy.Upstream
	n.proxy.Upstream = to
	return before
}

// Suffer has the network suffer from something more.
func (n *Network) Suffer(toxics ...Toxic) {
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

// Heal ends all that goes wrong. What a black hole held is lost, and its
// connections end.
func (n *Network) Heal() { n.proxy.Toxics.ResetToxics(context.Background()) }

// Cut ends all connections and refuses others.
func (n *Network) Cut() { n.proxy.Stop() }

// Open lets connections through.
func (n *Network) Open() {
	n.tb.Helper()
	if err := n.proxy.Start(); err != nil {
		n.tb.Fatalf("starting a proxy: %v", err)
	}
}

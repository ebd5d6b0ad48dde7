package roomlinktest

import (
	"testing"

	"roomlink/internal/broker"
	"roomlink/internal/store"
)

// The rest of this file has former names. New tests use the present ones.

// Client is [Store].
func Client(tb testing.TB, b *broker.Broker) *store.Store { tb.Helper(); return Store(tb, b) }

// There is [Upstream].
func There(kind string, attributes map[string]int) Toxic { return Upstream(kind, attributes) }

// Back is [Downstream].
func Back(kind string, attributes map[string]int) Toxic { return Downstream(kind, attributes) }

// Both is [BothWays].
func Both(kind string, attributes map[string]int) []Toxic { return BothWays(kind, attributes) }

// Lead is [Network.Redirect].
func (n *Network) Lead(server string) (former string) { return n.Redirect(server) }

// Suffer is [Network.AddToxics].
func (n *Network) Suffer(toxics ...Toxic) { n.tb.Helper(); n.AddToxics(toxics...) }

// Heal is [Network.RemoveToxics].
func (n *Network) Heal() { n.RemoveToxics() }

package access

import "github.com/prometheus/client_golang/prometheus"

var lastUse = prometheus.NewDesc("roomlink_credential_last_use_timestamp_seconds",
	"Unix time at which a credential of Talkdesk was last used; 0 if it was not since the process started. A credential "+
		"that is 0 everywhere for long may be removed. Take the maximum over processes.",
	[]string{"account", "credential", "kind"}, nil)

var _ prometheus.Collector = (*Authenticator)(nil)

// keepUses takes over the last uses of the credentials that were there before.
func (i *index) keepUses(before *index) {
	uses := map[Identity]int64{}
	for _, known := range before.credentials {
		uses[known.Identity] = max(uses[known.Identity], known.used.Load()) // two keys may have one name
	}
	for _, known := range i.credentials {
		known.used.Store(uses[known.Identity])
	}
}

// Describe implements [prometheus.Collector].
func (*Authenticator) Describe(out chan<- *prometheus.Desc) { out <- lastUse }

// Collect implements [prometheus.Collector].
func (a *Authenticator) Collect(out chan<- prometheus.Metric) {
	uses := map[Identity]int64{}
	for _, known := range a.index.Load().credentials {
		identity := known.Identity
		if label := a.config.Label; label != nil && label(identity.Account) != identity.Account {
			identity.Account, identity.Credential = label(identity.Account), label(identity.Account)
		}
		uses[identity] = max(uses[identity], known.used.Load())
	}
	for identity, used := range uses {
		out <- prometheus.MustNewConstMetric(lastUse, prometheus.GaugeValue, float64(used),
			identity.Account, identity.Credential, identity.Kind)
	}
}

package worker

import (
	"slices"
	"sync"

	"roomlink/worker/auvious"
)

// maxLoggedHosts bounds the hosts that an account remembers as logged.
const maxLoggedHosts = 100

// loggedHosts are the unexpected hosts that an account has logged.
type loggedHosts struct {
	mu    sync.Mutex
	hosts []string
}

// countHosts counts the unexpected hosts of a room: that of the urlBase in its request, and
// those of its links. It logs each host once. It does nothing for an account that restricts
// its link hosts: the webhook and the facade's client refuse other hosts then.
func (a *account) countHosts(request auvious.RoomRequest, room auvious.Room) {
	if len(a.LinkHosts) > 0 {
		return
	}
	a.countHost("url_base", request.URLBase)
	a.countHost("links", room.AgentURL, room.RecordingURL, room.TicketURL.Reveal())
}

// countHost counts links of a room once if one of them is on an unexpected host.
func (a *account) countHost(place string, links ...string) {
	unexpected := false
	for _, link := range links {
		host := auvious.Host(link)
		if link == "" || a.expectedHosts.Has(host) {
			continue
		}
		unexpected = true
		if a.loggedHosts.add(host) {
			a.log.Warn().Str("host", host).Str("place", place).
				Msg("a link is on an unexpected host: set ROOMLINK_LINK_HOSTS to refuse such links")
		}
	}
	if unexpected {
		a.metrics.unexpectedHosts.WithLabelValues(place).Inc()
	}
}

// add remembers a host, and reports whether it was new and is to be logged.
func (h *loggedHosts) add(host string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.hosts) >= maxLoggedHosts || slices.Contains(h.hosts, host) {
		return false
	}
	h.hosts = append(h.hosts, host)
	return true
}

// Package load tests the whole path under load. It posts events to a webhook as Talkdesk does, watches for
// their links as a subscriber does, and reconciles the events that went in with the links that came out.
//
// Latency counts from the time a request was due, not from the time it was sent. So a path that stalls cannot
// hide the stall: every request that was due meanwhile shows it.
package load

// Package load tests the whole path under load: it posts events to a webhook as
// Talkdesk would, sees their links arrive as a subscriber does, and holds what
// went in against what came out.
//
// Latency counts from when a request was due, not from when it was sent, so that
// a path which stalls cannot hide it by being asked less.
package load

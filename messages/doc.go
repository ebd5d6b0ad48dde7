// Package messages is the contract of roomlink: what travels over NATS
// JetStream between its parts, and how to read it. It imports nothing else of
// roomlink, so that a subscriber can be built on it alone.
//
// # Identity
//
// A conversation is an account and an interaction id, a [Conversation]. All
// that concerns it hangs on one subject token, [Token]: the event that asks for
// its room, the links, and the dead letter each have at most one message a
// subject, in the streams [ConversationsStream], [LinksStream] and
// [DeadLettersStream]. The interaction id itself travels in the body.
//
// # Delivery
//
// The event of a conversation waits in a work queue and leaves it only after
// its links or its dead letter are stored. It may be delivered more than once;
// a worker looks for links before it has a room made, so a redelivery changes
// nothing. A subscriber sees the links of a conversation once for each
// generation, and after a reconnect possibly again: it should keep the highest
// generation it has seen.
//
// # Order
//
// The links of one conversation are published in the order of their generation:
// 1, then one more for each renewal. Nothing is said about the order between
// conversations.
//
// # Versions
//
// Every message is a CloudEvents 1.0 document in structured JSON mode, an
// [Event]. Its type ends in a version; within a version fields are only added,
// so a reader must ignore fields that it does not know. The JSON Schemas of the
// three types lie beside this file and in [Schemas].
//
// # Secrets
//
// The ticket URL of [Links] lets whoever holds it into the call. It is a
// [Secret]: it marshals to JSON as it is, and formats as "[redacted]".
//
// # Errors
//
// [ErrNotFound] says that nothing is stored, [ErrInvalid] that a message or an
// identifier breaks the contract, [ErrQueueFull] that the queue takes no more
// events. Any other error is the broker's or the context's.
package messages

import "embed"

// Schemas holds the JSON Schemas (draft 2020-12) of the three messages, each
// under the name of its type with ".schema.json" behind it.
//
//go:embed *.schema.json
var Schemas embed.FS

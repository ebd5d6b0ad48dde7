// Package messages is the contract of roomlink: the messages that its parts exchange
// over NATS JetStream, and a small subscriber. It imports nothing else of roomlink.
//
// # Identity
//
// A [Conversation] is an account and an interaction id. [Token] turns the interaction
// id into a subject token. A conversation has three subjects: for the event that asks
// for a room, for its links and for its dead letter. Each subject holds at most one
// message. The streams are [ConversationsStream], [LinksStream] and
// [DeadLettersStream]. The message itself contains the interaction id.
//
// # Delivery
//
// The event of a conversation waits in a work queue. It leaves the queue after its
// links or its dead letter are stored. The broker may deliver it more than once. A
// worker looks for links before it asks for a room, so a redelivery changes nothing.
// A subscriber receives the links of each generation once, and possibly again after a
// reconnect. It receives them once more, without URLs, if an operator revokes them. It
// should keep the last links of each conversation.
//
// # Order
//
// The links of one conversation come in the order of their generations: 1, then one
// more for each renewal. Revoked links have the generation of the links that they end.
// There is no order between conversations.
//
// # Versions
//
// Every message is a CloudEvents 1.0 document in structured JSON mode, an [Event]. Its
// type ends in a version. A version only ever gains fields, so a reader must ignore
// fields that it does not know. [Schemas] holds the JSON Schemas of the three types.
//
// # Other ways to read
//
// A program may also read the streams with package jetstream. [DecodeDelivered] then
// decodes a message from a consumer, [DecodeStored] a message from a stream, and
// [DecodeDirect] the answer to a direct get.
//
// # Secrets
//
// The ticket URL of [Links] admits its holder to the call. It is a [Secret]: its JSON
// is the URL, and every verb of fmt prints "[redacted]".
//
// # Errors
//
// [ErrNotFound] reports that nothing is stored, [ErrInvalid] that a message or an
// identifier breaks the contract. Other errors are the broker's or the context's. Test
// for an error with [errors.Is]: it may be wrapped.
package messages

import "embed"

// Schemas holds the JSON Schemas (draft 2020-12) of the three messages. A file's name
// is the type and ".schema.json".
//
//go:embed *.schema.json
var Schemas embed.FS

// Package messages is the contract of roomlink: the messages that its parts exchange
// over NATS JetStream, and the client of a subscriber. It imports nothing else of roomlink.
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
//
// # Subscribers
//
// The operator of roomlink names the subscribers of an account. Each has a NATS user,
// "name@account", and a durable consumer, [DurableName]. A subscriber receives the newest
// links of each conversation at least once; it may never see older ones that were
// replaced meanwhile. After a crash of the broker, what it acknowledged in the last second
// may come again. It receives links once more, without URLs, if an operator revokes them.
// A subscriber should keep links only if they replace the known ones: [Links.Replaces].
//
// [Subscriber.Consume] is for a program that needs the links of every conversation,
// [Subscriber.Wait] for one that needs those of one conversation now, and
// [Subscriber.Watch] for one that shows what happens.
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
// decodes a message from a consumer, [DecodeStored] a message from a stream,
// [DecodeDirect] the answer to a direct get, and [DecodeLive] a message of a core
// subscription.
//
// # Secrets
//
// The ticket URL of [Links] admits its holder to the call. It is a [Secret]: its JSON
// is the URL, and every verb of fmt prints "[redacted]".
//
// # Errors
//
// [ErrNotFound] reports that nothing is stored, [ErrInvalid] that a message or an
// identifier breaks the contract, [ErrPermission] that the broker does not permit
// something, and [FailedError] that a conversation got no links. Other errors are the
// broker's or the context's. Test for an error with [errors.Is] or [errors.As]: it may be
// wrapped.
package messages

import "embed"

// Schemas holds the JSON Schemas (draft 2020-12) of the three messages. A file's name
// is the type and ".schema.json".
//
//go:embed *.schema.json
var Schemas embed.FS

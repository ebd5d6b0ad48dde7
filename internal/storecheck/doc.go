// Package storecheck notices damage in the store of the embedded broker, repairs what can be
// repaired, and names what is lost.
//
// nats-server 2.15 does not tell. After a stop that was not clean it cuts a block off at the
// first damaged record and starts without the rest. After a clean stop it trusts its index, and
// a damaged record can then be neither read nor deleted.
//
// # At start
//
//  1. [Inspect] reads every block before the server does, and finds each damaged record.
//  2. [Findings.Repair] keeps a copy of each damaged block, notes what was damaged in a report,
//     and replaces each damaged record by nats-server's own record for an erased message. So the
//     server keeps everything else, with its sequences and times.
//  3. [Settle] compares what the server recovered with what the blocks held and with the last
//     [Mark]. A damaged event becomes a dead letter, and its conversation is free again. What
//     is in no stream is missing, and stays in the report until somebody accepts the loss.
//
// A crash at any point loses nothing: the report is written before a block is changed, and the
// dead letters are stored before the report forgets the events.
package storecheck

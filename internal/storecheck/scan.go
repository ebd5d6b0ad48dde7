package storecheck

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"time"

	"roomlink/messages"
)

// scan is the inspection of one stream.
type scan struct {
	stream   Stream
	block    *block
	gaps     []gap
	events   []event
	messages []uint64
	deleted  []uint64
	highest  uint64
	repairs  []repair
	whole    bool
}

func (s *scan) found(r record) {
	s.whole = true
	if r.mended {
		s.repairs = append(s.repairs, repair{block: s.block, offset: r.offset, length: r.size})
	}
	switch r.kind {
	case deletion:
		s.deleted = append(s.deleted, r.sequence)
		s.highest = max(s.highest, r.sequence)
	case message:
		s.messages = append(s.messages, r.sequence)
		s.closeGaps(r.sequence)
		if s.stream.Name == messages.ConversationsStream && len(s.events) < maxWaiting {
			subject := strings.TrimPrefix(string(r.subject), messages.EventSubjects)
			s.events = append(s.events, event{sequence: r.sequence, subject: subject, at: r.at})
		}
	}
}

// closeGaps notes the message behind the gaps that have none yet.
func (s *scan) closeGaps(sequence uint64) {
	for i := len(s.gaps) - 1; i >= 0 && s.gaps[i].before == 0; i-- {
		s.gaps[i].before = sequence
		s.gaps[i].inside = s.gaps[i].block == s.block
	}
}

func (s *scan) gap(g gap) {
	g.block = s.block
	if len(s.gaps) < maxDamage && len(g.data) <= maxGap {
		g.data = bytes.Clone(g.data)
	} else {
		g.data = nil
	}
	s.gaps = append(s.gaps, g)
}

// add adds the results of a stream.
func (f *Findings) add(s scan) {
	slices.Sort(s.deleted)
	isDeleted := func(sequence uint64) bool {
		_, yes := slices.BinarySearch(s.deleted, sequence)
		return yes
	}
	f.whole = f.whole || s.whole
	f.repairs = append(f.repairs, s.repairs...)
	for _, g := range s.gaps {
		if g.torn {
			f.addTorn(&s.stream, g)
			continue
		}
		lost := lostIn(s.stream.Name, g, isDeleted)
		s.stream.Damaged += len(lost)
		for _, damage := range lost {
			if len(f.Damage) < maxDamage {
				f.Damage = append(f.Damage, damage)
			} else {
				f.More++
			}
		}
		f.repairs = append(f.repairs, repair{
			stream: s.stream.Name, block: g.block, offset: g.offset, size: g.size,
			sequence: g.replacement(lost), at: g.since,
		})
	}
	for _, sequence := range s.messages {
		if !isDeleted(sequence) {
			s.stream.Messages++
		}
	}
	for _, e := range s.events {
		if !isDeleted(e.sequence) {
			f.waiting = append(f.waiting, e)
		}
	}
	f.Streams = append(f.Streams, s.stream)
}

// addTorn adds a record whose write broke off. Nobody was told that it was stored. So an event that
// broke off is not missing, and the event of links or of a dead letter still waits. It does not
// after a clean stop: then this is damage, and what is gone is missing.
func (f *Findings) addTorn(stream *Stream, g gap) {
	stream.Torn = g.size
	f.repairs = append(f.repairs, repair{block: g.block, offset: g.offset, size: g.size, torn: true})
	if id := identify(stream.Name, g.data); id.token != "" && stream.Name != messages.ConversationsStream {
		f.torn = append(f.torn, Lost{
			Stream: stream.Name, Block: g.block.name, Offset: g.offset,
			Account: id.account, Token: id.token, InteractionID: id.interactionID,
		})
	}
}

// lostIn returns the messages in a gap that were not deleted.
func lostIn(stream string, g gap, isDeleted func(uint64) bool) []Lost {
	if g.size == minRecord {
		return nil // a deletion: the message that it deleted comes back, and is settled again
	}
	parts := split(stream, g.data)
	absent, hidden := g.absent(isDeleted), 0
	var lost []Lost
	for _, part := range parts {
		sequence, at := g.place(part, len(parts))
		hidden += hiddenIn(part)
		if sequence != 0 && isDeleted(sequence) {
			continue
		}
		id := identify(stream, part)
		if id.token == "" && sequence == 0 && g.before == g.after+1 {
			continue // no message is missing between the two around it
		}
		damage := Lost{
			Stream: stream, Block: g.block.name, Offset: g.offset, Sequence: sequence, Since: timeOf(at),
			Account: id.account, Token: id.token, InteractionID: id.interactionID,
			below: max(sequence, g.after+1),
		}
		if stream == messages.ConversationsStream && len(id.body) <= maxBody {
			damage.Body = id.body
		}
		lost = append(lost, damage)
	}
	for range min(absent-len(lost), hidden) {
		lost = append(lost, Lost{
			Stream: stream, Block: g.block.name, Offset: g.offset, Since: timeOf(g.since), below: g.after + 1,
		})
	}
	return lost
}

// absent returns how many sequences the messages around the gap leave out, without deleted ones.
// Behind the last message it is a large number.
func (g gap) absent(isDeleted func(uint64) bool) int {
	if g.before == 0 {
		return math.MaxInt
	}
	count := 0
	for sequence := g.after + 1; sequence < g.before && count*minMessage < g.size; sequence++ {
		if !isDeleted(sequence) {
			count++
		}
	}
	return count
}

// hiddenIn returns how many more messages a part may hold than the one that begins it.
func hiddenIn(part []byte) int {
	if len(part) < minRecord {
		return 0
	}
	length := int(binary.LittleEndian.Uint32(part) &^ headerFlag)
	switch {
	case length == len(part):
		return 0
	case length >= minRecord && length < len(part):
		return (len(part)-length)/minMessage + 1
	}
	return len(part) / minMessage
}

// place returns the sequence of a damaged record, or 0 if it is unknown, and its time, or that of
// the message before it.
func (g gap) place(part []byte, parts int) (sequence uint64, at int64) {
	at = g.since
	between := func(n uint64) bool { return n > g.after && (n < g.before || g.before == 0 && n-g.after <= maxTail) }
	if len(part) >= headSize {
		own := binary.LittleEndian.Uint64(part[4:])
		ownAt := int64(binary.LittleEndian.Uint64(part[12:]))
		if between(own) {
			sequence = own
		}
		if ownAt > g.since && (g.since == 0 || ownAt-g.since < int64(24*time.Hour)) {
			at = ownAt
		}
	}
	if parts == 1 && g.before == g.after+2 {
		sequence = g.after + 1
	}
	return sequence, at
}

// timeOf returns the time of a record; the zero time for 0.
func timeOf(at int64) time.Time {
	if at == 0 {
		return time.Time{}
	}
	return time.Unix(0, at).UTC()
}

// replacement returns the sequence of the erased record that fills the gap, 0 for none. The server
// takes the message with this sequence for deleted. In a block without messages it also takes its
// last sequence from there.
func (g gap) replacement(lost []Lost) uint64 {
	for _, damage := range slices.Backward(lost) {
		if damage.Sequence != 0 {
			return damage.Sequence
		}
	}
	if !g.inside && g.alone {
		return g.deleted
	}
	return 0
}

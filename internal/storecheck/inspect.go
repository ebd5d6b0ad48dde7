package storecheck

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/minio/highwayhash"

	"roomlink/messages"
)

const (
	// maxBlock bounds a block that is read, in bytes. nats-server's are at most 8 MiB and one
	// message.
	maxBlock = 64 << 20
	// maxWaiting bounds the events that are compared with the recovered queue.
	maxWaiting = 2_000_000
	// maxDamage bounds the damaged messages that are named.
	maxDamage = 10_000
	// maxBody bounds the kept content of a damaged event, in bytes.
	maxBody = 16 << 10
	// maxGap bounds the part of a block in which lost messages are looked for, in bytes.
	maxGap = 1 << 20
	// minUnknown is the size of blocks without any whole record that have another format, rather
	// than damage.
	minUnknown = 64 << 10
)

// streamPrefix is the beginning of the names of roomlink's streams. Others are an
// administrator's own.
const streamPrefix = "ROOMLINK_"

// Lost is a damaged or missing message, or a part of a block in which nothing can be read.
type Lost struct {
	Stream string `json:"stream"`
	// Block is the file, relative to the data directory, and Offset the place in it. Block is
	// empty for a message whose block is gone.
	Block  string `json:"block,omitempty"`
	Offset int    `json:"offset,omitzero"`
	// Sequence is 0 if it is unknown.
	Sequence uint64 `json:"sequence,omitzero"`
	// Since is the time of the message, or of the one before it if its own is damaged.
	Since time.Time `json:"since,omitzero"`
	// Account and Token are those of the subject; empty if they are unknown. InteractionID is
	// empty if only the token is known.
	Account       string `json:"account,omitempty"`
	Token         string `json:"token,omitempty"`
	InteractionID string `json:"interactionId,omitempty"`
	// Body is the content of a damaged event as it is on the disk.
	Body []byte `json:"body,omitempty"`

	// below is the lowest sequence that is not older.
	below uint64
}

// Stream is what the blocks of a stream hold.
type Stream struct {
	Name string `json:"name"`
	// Blocks and Bytes are those of the files.
	Blocks int   `json:"blocks"`
	Bytes  int64 `json:"bytes"`
	// Messages is the number of whole messages that were not deleted. In a stream that keeps
	// the last message of a subject it contains replaced ones.
	Messages int `json:"messages"`
	// Damaged is the number of damaged messages.
	Damaged int `json:"damaged"`
	// Torn is the size of a write that broke off at the end.
	Torn int `json:"torn"`
	// Unread is why blocks were not read; "" if all were.
	Unread string `json:"unread,omitempty"`
}

// Progress is a file that [Inspect] reads.
type Progress struct {
	Stream, Block string
	Number, Of    int
}

// Findings are the results of an inspection.
type Findings struct {
	Streams []Stream
	Damage  []Lost
	// More counts the damaged messages beyond those in Damage.
	More int

	dir     string
	repairs []repair
	// whole is true if a whole record was found.
	whole bool
	// report is the report of [Findings.Repair]; nil if nothing was repaired.
	report *Report
	// waiting are the events of the queue.
	waiting []event
}

// event is an event in the queue.
type event struct {
	sequence uint64
	// subject is without its common beginning.
	subject string
	at      int64
}

// block is a file.
type block struct {
	path, name string
	number     uint64
}

// Inspect reads the blocks of roomlink's streams in a data directory, that of the queue first. No
// server may use the directory. At the deadline of the context Inspect leaves the rest unread
// and says so in the findings. It returns an error that wraps [ErrRights] for a file that it may
// not read, the error of a cancelled context, or an error of the disk.
func Inspect(ctx context.Context, dir string, progress func(Progress)) (*Findings, error) {
	found := &Findings{dir: dir}
	streams, err := filepath.Glob(filepath.Join(dir, "jetstream", "*", "streams", streamPrefix+"*"))
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(streams, func(a, b string) int { return order(a) - order(b) })
	for _, path := range streams {
		if err := found.inspectStream(ctx, path, progress); err != nil {
			return nil, err
		}
	}
	if !found.whole && found.Bytes() > minUnknown {
		found.leaveAlone()
	}
	return found, nil
}

// leaveAlone forgets what was found in blocks whose format is unknown.
func (f *Findings) leaveAlone() {
	f.Damage, f.More, f.repairs = nil, 0, nil
	for i := range f.Streams {
		f.Streams[i].Unread, f.Streams[i].Damaged, f.Streams[i].Torn = "the format of the blocks is unknown", 0, 0
	}
}

// order puts the queue first.
func order(path string) int {
	if filepath.Base(path) == messages.ConversationsStream {
		return 0
	}
	return 1
}

// newDigest returns the checksum of the records of a block.
func newDigest(stream string, b *block) (hash.Hash64, error) {
	key := sha256.Sum256(fmt.Appendf(nil, "%s-%d", stream, b.number))
	return highwayhash.New64(key[:])
}

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

func (f *Findings) inspectStream(ctx context.Context, path string, progress func(Progress)) error {
	s := scan{stream: Stream{Name: filepath.Base(path)}}
	blocks, err := listBlocks(f.dir, filepath.Join(path, "msgs"))
	if err != nil {
		return err
	}
	r := reader{found: s.found, gap: s.gap}
	for i := range blocks {
		if err := ctx.Err(); errors.Is(err, context.DeadlineExceeded) {
			s.stream.Unread = fmt.Sprintf("the time ended after %d of %d blocks", i, len(blocks))
			break
		} else if err != nil {
			return err
		}
		s.block = &blocks[i]
		progress(Progress{Stream: s.stream.Name, Block: s.block.name, Number: i + 1, Of: len(blocks)})
		buf, err := readBlock(s.block.path)
		if err != nil {
			return err
		}
		if buf == nil {
			s.stream.Unread = fmt.Sprintf("%s is not a plain block", s.block.name)
			continue
		}
		if r.digest, err = newDigest(s.stream.Name, s.block); err != nil {
			return err
		}
		s.stream.Blocks++
		s.stream.Bytes += int64(len(buf))
		s.highest = 0
		first := len(s.gaps)
		s.stream.Torn = r.read(buf, i == len(blocks)-1)
		for n := first; n < len(s.gaps); n++ {
			s.gaps[n].deleted = s.highest
		}
	}
	f.add(s)
	return nil
}

// listBlocks returns the blocks in a directory in their order.
func listBlocks(dir, msgs string) ([]block, error) {
	entries, err := os.ReadDir(msgs)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the store: %w", err)
	}
	var blocks []block
	for _, entry := range entries {
		name, isBlock := strings.CutSuffix(entry.Name(), ".blk")
		number, err := strconv.ParseUint(name, 10, 32)
		if !isBlock || err != nil {
			continue
		}
		path := filepath.Join(msgs, entry.Name())
		relative, err := filepath.Rel(dir, path)
		if err != nil {
			return nil, err
		}
		blocks = append(blocks, block{path: path, name: relative, number: number})
	}
	slices.SortFunc(blocks, func(a, b block) int { return int(a.number) - int(b.number) }) //nolint:gosec // 32 bits
	return blocks, nil
}

// readBlock reads a block. It returns nil for a block that is compressed or absurdly large, or that
// is no file.
func readBlock(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err == nil && (info.Size() > maxBlock || !info.Mode().IsRegular()) {
		return nil, nil
	}
	var buf []byte
	if err == nil {
		buf, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the store: %w", err)
	}
	if strings.HasPrefix(string(buf[:min(len(buf), 3)]), "cmp") {
		return nil, nil
	}
	return buf, nil
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

// lostIn returns the messages in a gap that were not deleted.
func lostIn(stream string, g gap, isDeleted func(uint64) bool) []Lost {
	if g.size == minRecord {
		return nil // a deletion: the message that it deleted comes back, and is settled again
	}
	parts := split(stream, g.data)
	var lost []Lost
	for _, part := range parts {
		sequence, at := g.place(part, len(parts))
		if sequence != 0 && isDeleted(sequence) {
			continue
		}
		id := identify(stream, part)
		if id.token == "" && sequence == 0 && g.before == g.after+1 {
			continue // no message is missing between the two around it
		}
		damage := Lost{
			Stream: stream, Block: g.block.name, Offset: g.offset, Sequence: sequence, Since: time.Unix(0, at).UTC(),
			Account: id.account, Token: id.token, InteractionID: id.interactionID,
			below: max(sequence, g.after+1),
		}
		if stream == messages.ConversationsStream && len(id.body) <= maxBody {
			damage.Body = id.body
		}
		lost = append(lost, damage)
	}
	return lost
}

// place returns the sequence of a damaged record, or 0 if it is unknown, and its time, or that of
// the message before it.
func (g gap) place(part []byte, parts int) (sequence uint64, at int64) {
	at = g.since
	between := func(n uint64) bool { return n > g.after && (n < g.before || g.before == 0 && n-g.after <= maxJump) }
	if len(part) >= headSize {
		own, ownAt := binary.LittleEndian.Uint64(part[4:]), int64(min(binary.LittleEndian.Uint64(part[12:]), math.MaxInt64)) //nolint:gosec // bounded
		if between(own) {
			sequence = own
		}
		if ownAt > g.since && ownAt-g.since < int64(24*time.Hour) {
			at = ownAt
		}
	}
	if parts == 1 && g.before == g.after+2 {
		sequence = g.after + 1
	}
	return sequence, at
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

// Damaged reports whether a block needs a repair.
func (f *Findings) Damaged() bool { return len(f.repairs) > 0 }

// Bytes returns the size of the inspected blocks.
func (f *Findings) Bytes() int64 {
	var sum int64
	for _, stream := range f.Streams {
		sum += stream.Bytes
	}
	return sum
}

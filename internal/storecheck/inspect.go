package storecheck

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io/fs"
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
	// minMessage is smaller than any message of ours, in bytes.
	minMessage = 400
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
	// torn are the links and dead letters whose write broke off.
	torn []Lost
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
		r.read(buf, i == len(blocks)-1)
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
	slices.SortFunc(blocks, func(a, b block) int { return int(a.number) - int(b.number) })
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

// Bytes returns the size of the inspected blocks.
func (f *Findings) Bytes() int64 {
	var sum int64
	for _, stream := range f.Streams {
		sum += stream.Bytes
	}
	return sum
}

package storecheck

import (
	"bytes"
	"encoding/binary"
	"hash"
)

// The format of a block (nats-server 2.15, server/filestore.go). A block is a row of records. All
// numbers are little-endian:
//
//	length of the record     4 bytes; the top bit says that it has a header
//	sequence                 8 bytes; the two top bits are flags
//	time                     8 bytes, nanoseconds of Unix time
//	length of the subject    2 bytes
//	subject
//	length of the header     4 bytes, this and the next only of a record with a header
//	the header itself
//	body
//	checksum                 8 bytes: HighwayHash of all but the three lengths
const (
	headSize     = 22
	checksumSize = 8
	// minRecord is the size of a deletion, the smallest record.
	minRecord = headSize + checksumSize

	headerFlag   = 1 << 31
	erasedFlag   = 1 << 63
	deletionFlag = 1 << 62
)

const (
	// maxRecord bounds the records that the search for the next whole record tries. It is
	// larger than any message of ours.
	maxRecord = 1 << 20
	// maxJump bounds the step of the sequence between two messages of a block. nats-server
	// takes memory for each number in between, and never ends with an absurd one.
	maxJump = 1 << 24
	// maxTail is the same for a damaged message behind the last one.
	maxTail = 1 << 16
)

// headerEnd ends every header of NATS.
var headerEnd = []byte("\r\n\r\n")

// kind is the kind of a record.
type kind int

const (
	message kind = iota
	// deletion says that an earlier message was deleted.
	deletion
	// erased stands in the place of a message whose content was overwritten.
	erased
)

// record is a whole record of a block. Its slices are parts of the block.
type record struct {
	kind         kind
	offset, size int
	sequence     uint64
	at           int64
	subject      []byte
	// mended is true if only the length of the record was damaged.
	mended bool
}

// gap is a part of a block that holds no whole record.
type gap struct {
	block        *block
	offset, size int
	data         []byte
	// after and before are the sequences of the messages around the gap; 0 if there is none.
	after, before uint64
	// alone is true if no message of the block is before the gap, and inside if one is behind it.
	alone, inside bool
	// since is the time of the message before the gap.
	since int64
	// deleted is the highest sequence that a deletion in the block names.
	deleted uint64
	// torn is true for a record whose write broke off.
	torn bool
}

// reader reads the blocks of one stream in their order.
type reader struct {
	digest hash.Hash64
	// last and lastAt are those of the last message.
	last   uint64
	lastAt int64
	found  func(record)
	gap    func(gap)
}

// read reads a block. isLast is true for the last one, in which a write may have broken off.
func (r *reader) read(buf []byte, isLast bool) {
	inBlock := uint64(0) // the last message of this block
	for at := 0; at < len(buf); {
		found, ok := r.parse(buf, at, 0, inBlock)
		if !ok {
			end := r.resync(buf, at, inBlock)
			// The length may be the only damage.
			found, ok = r.parse(buf, at, end-at, inBlock)
			found.mended = ok
			if !ok {
				torn := isLast && end == len(buf) && tornRecord(buf[at:])
				r.gap(gap{
					offset: at, size: end - at, data: buf[at:end], after: r.last, since: r.lastAt, alone: inBlock == 0, torn: torn,
				})
				at = end
				continue
			}
		}
		at += found.size
		if found.kind == message && found.sequence <= inBlock {
			continue // a copy of an older record, which the server leaves out
		}
		r.found(found)
		if found.kind == message {
			inBlock, r.last, r.lastAt = found.sequence, found.sequence, found.at
		}
	}
}

// resync returns the offset of the next whole record after a damaged one, or the length of the
// block.
func (r *reader) resync(buf []byte, from int, last uint64) int {
	for at := from + 1; at+minRecord <= len(buf); at++ {
		length := binary.LittleEndian.Uint32(buf[at:]) &^ headerFlag
		if length > maxRecord || buf[at+10] != 0 { // no stream has 2^48 messages
			continue
		}
		if _, ok := r.parse(buf, at, 0, last); ok {
			return at
		}
	}
	return len(buf)
}

// parse reads the record at an offset. It takes the length from the record if size is 0. last is
// the sequence of the message before it. parse returns false if the record is damaged.
func (r *reader) parse(buf []byte, at, size int, last uint64) (record, bool) {
	if len(buf)-at < minRecord {
		return record{}, false
	}
	head := buf[at : at+headSize]
	length := binary.LittleEndian.Uint32(head)
	if size == 0 {
		size = int(length &^ headerFlag)
	}
	if size < minRecord || size > len(buf)-at {
		return record{}, false
	}
	data := buf[at+headSize : at+size-checksumSize]
	subjectSize := int(binary.LittleEndian.Uint16(head[20:]))
	if subjectSize > len(data) {
		return record{}, false
	}
	subject, rest := data[:subjectSize], data[subjectSize:]
	if length&headerFlag != 0 {
		var ok bool
		if rest, ok = afterHeaderLength(rest); !ok {
			return record{}, false
		}
	}
	r.digest.Reset()
	for _, part := range [][]byte{head[4:20], subject, rest} {
		_, _ = r.digest.Write(part) // never fails
	}
	if !bytes.Equal(r.digest.Sum(nil), buf[at+size-checksumSize:at+size]) {
		return record{}, false
	}
	found := record{offset: at, size: size, subject: subject}
	found.setHead(head)
	impossible := found.kind == message && last > 0 && found.sequence > last && found.sequence-last > maxJump
	return found, !impossible
}

// setHead sets the kind, the sequence and the time.
func (r *record) setHead(head []byte) {
	sequence := binary.LittleEndian.Uint64(head[4:])
	switch {
	case sequence&deletionFlag != 0:
		r.kind = deletion
	case sequence&erasedFlag != 0 || sequence == 0:
		r.kind = erased
	}
	r.sequence = sequence &^ (erasedFlag | deletionFlag)
	r.at = int64(binary.LittleEndian.Uint64(head[12:]))
}

// afterHeaderLength cuts the length of the header off, which the checksum does not cover. It
// returns false if the header does not end there.
func afterHeaderLength(data []byte) ([]byte, bool) {
	if len(data) < 4 {
		return nil, false
	}
	length, rest := binary.LittleEndian.Uint32(data), data[4:]
	if uint64(length) > uint64(len(rest)) || !bytes.HasSuffix(rest[:length], headerEnd) {
		return nil, false
	}
	return rest, true
}

// tornRecord reports whether the end of the last block is a write that broke off: a record
// without its end, or space that was never written.
func tornRecord(data []byte) bool {
	if len(data) < minRecord || len(bytes.Trim(data, "\x00")) == 0 {
		return true
	}
	return int(binary.LittleEndian.Uint32(data)&^headerFlag) > len(data)
}

// erasure returns nats-server's record of an erased message that fills size bytes.
func erasure(digest hash.Hash64, size int, sequence uint64, at int64) []byte {
	written := make([]byte, size)
	binary.LittleEndian.PutUint32(written, uint32(size))
	binary.LittleEndian.PutUint64(written[4:], sequence|erasedFlag)
	binary.LittleEndian.PutUint64(written[12:], uint64(at))
	digest.Reset()
	_, _ = digest.Write(written[4:20]) // never fails
	_, _ = digest.Write(written[headSize : size-checksumSize])
	copy(written[size-checksumSize:], digest.Sum(nil))
	return written
}

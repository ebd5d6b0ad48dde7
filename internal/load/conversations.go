package load

import (
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// The marks of a conversation tell what was sent and what was seen of it.
const (
	markSent uint32 = 1 << iota
	markAccepted
	markRefused
	markUnanswered
	markLinked
	markDead
	markDouble
)

// finished reports whether a conversation was accepted and has links or a dead letter.
func finished(marks uint32) bool {
	return marks&markAccepted != 0 && marks&(markLinked|markDead) != 0
}

// conversation is the record of one conversation, 16 bytes.
type conversation struct {
	// acceptedAt is the time of its first 2xx response, in nanoseconds since the start.
	acceptedAt atomic.Int64
	marks      atomic.Uint32
}

const (
	// chunkSize is the number of conversations that are allocated together.
	chunkSize = 1 << 14
	// idDigits is the number of digits in an id, which makes all ids equally long.
	idDigits = 9
)

// conversations are those of one test, by index. Their ids are a prefix, which no other test has, and the
// index, so no id is stored.
type conversations struct {
	prefix string
	next   atomic.Int64

	mu     sync.Mutex
	chunks atomic.Pointer[[]*[chunkSize]conversation]
}

func newConversations() *conversations {
	c := &conversations{prefix: "load-" + strings.ToLower(rand.Text()[:10]) + "-"}
	c.chunks.Store(&[]*[chunkSize]conversation{})
	return c
}

// idLength returns the length of each id, in bytes.
func (c *conversations) idLength() int { return len(c.prefix) + idDigits }

// appendID appends the interaction id of a conversation to buf.
func (c *conversations) appendID(buf []byte, index int) []byte {
	return fmt.Appendf(buf, "%s%0*d", c.prefix, idDigits, index)
}

func (c *conversations) count() int { return int(c.next.Load()) }

// add adds a conversation and returns its index.
func (c *conversations) add() int { return int(c.next.Add(1) - 1) }

func (c *conversations) at(index int) *conversation {
	chunks := *c.chunks.Load()
	if index/chunkSize >= len(chunks) {
		chunks = c.grow(index/chunkSize + 1)
	}
	return &chunks[index/chunkSize][index%chunkSize]
}

func (c *conversations) grow(length int) []*[chunkSize]conversation {
	c.mu.Lock()
	defer c.mu.Unlock()
	chunks := *c.chunks.Load()
	for len(chunks) < length {
		// Readers of the old slice do not see what append writes behind its end.
		chunks = append(chunks, new([chunkSize]conversation))
	}
	c.chunks.Store(&chunks)
	return chunks
}

// bySubject returns the conversation whose id is the last token of a subject; nil if the id is not of this
// test.
func (c *conversations) bySubject(subject string) *conversation {
	id, ok := strings.CutPrefix(subject[strings.LastIndexByte(subject, '.')+1:], c.prefix)
	if !ok {
		return nil
	}
	index, err := strconv.Atoi(id)
	if err != nil || index < 0 || index >= c.count() {
		return nil
	}
	return c.at(index)
}

// each calls fn with the index and the marks of every conversation that was sent.
func (c *conversations) each(fn func(index int, marks uint32)) {
	for index := range c.count() {
		if marks := c.at(index).marks.Load(); marks&markSent != 0 {
			fn(index, marks)
		}
	}
}

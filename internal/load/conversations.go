package load

import (
	"crypto/rand"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// The marks of a conversation: what was sent for it, and what came back.
const (
	markSent uint32 = 1 << iota
	markAccepted
	markRefused
	markUnanswered
	markLinked
	markDead
	markDouble
)

// ended reports whether a conversation came to its end: accepted, and with links
// or a dead letter.
func ended(marks uint32) bool {
	return marks&markAccepted != 0 && marks&(markLinked|markDead) != 0
}

// conversation is what is remembered of one, 16 bytes.
type conversation struct {
	// acceptedAt is when its first 2xx was read, in nanoseconds since the beginning.
	acceptedAt atomic.Int64
	marks      atomic.Uint32
}

// chunk is how many conversations are made room for at a time.
const chunk = 1 << 14

// conversations are those of one run, by their number. Their ids are a prefix of
// the run's own and that number, so no text is kept.
type conversations struct {
	prefix string
	next   atomic.Int64

	mu     sync.Mutex
	chunks atomic.Pointer[[]*[chunk]conversation]
}

func newConversations() *conversations {
	c := &conversations{prefix: "load-" + strings.ToLower(rand.Text()[:10]) + "-"}
	c.chunks.Store(&[]*[chunk]conversation{})
	return c
}

// idLength is how long each id is, in bytes.
func (c *conversations) idLength() int { return len(c.prefix) + idDigits }

func (c *conversations) count() int { return int(c.next.Load()) }

// add makes room for one more conversation, and returns its number.
func (c *conversations) add() int { return int(c.next.Add(1) - 1) }

// at returns a conversation.
func (c *conversations) at(index int) *conversation {
	chunks := *c.chunks.Load()
	if index/chunk >= len(chunks) {
		chunks = c.grow(index/chunk + 1)
	}
	return &chunks[index/chunk][index%chunk]
}

func (c *conversations) grow(length int) []*[chunk]conversation {
	c.mu.Lock()
	defer c.mu.Unlock()
	chunks := *c.chunks.Load()
	for len(chunks) < length {
		// Readers may hold the old slice: append writes behind its end at most.
		chunks = append(chunks, new([chunk]conversation))
	}
	c.chunks.Store(&chunks)
	return chunks
}

// of returns the conversation that a subject is about, by its last token; nil for
// one of somebody else.
func (c *conversations) of(subject string) *conversation {
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

// each calls fn with the number and the marks of every conversation.
func (c *conversations) each(fn func(index int, marks uint32)) {
	for index := range c.count() {
		fn(index, c.at(index).marks.Load())
	}
}

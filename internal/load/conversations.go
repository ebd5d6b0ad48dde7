package load

import (
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// conversation is the record of one conversation, 16 bytes.
type conversation struct {
	// acceptedAt is the time of its first 2xx response since the start.
	acceptedAt time.Duration
	// accepted reports a 2xx response, and unanswered a request without a response.
	accepted, unanswered bool
	// linked and dead report links and a dead letter, and double reports further links.
	linked, dead, double bool
	// finished reports that the meter has counted the conversation as finished.
	finished bool
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
	count  int
	// chunks grow without copying a conversation. Copying millions would stall the test.
	chunks []*[chunkSize]conversation
}

func newConversations() conversations {
	return conversations{prefix: "load-" + strings.ToLower(rand.Text()[:10]) + "-"}
}

// idLength returns the length of each id, in bytes.
func (c *conversations) idLength() int { return len(c.prefix) + idDigits }

// appendID appends the interaction id of a conversation to buf.
func (c *conversations) appendID(buf []byte, index int) []byte {
	return fmt.Appendf(buf, "%s%0*d", c.prefix, idDigits, index)
}

// add adds a conversation and returns its index.
func (c *conversations) add() int {
	if c.count%chunkSize == 0 {
		c.chunks = append(c.chunks, new([chunkSize]conversation))
	}
	c.count++
	return c.count - 1
}

func (c *conversations) at(index int) *conversation {
	return &c.chunks[index/chunkSize][index%chunkSize]
}

// bySubject returns the conversation whose id is the last token of a subject; nil if the id is not of this
// test.
func (c *conversations) bySubject(subject string) *conversation {
	id, ok := strings.CutPrefix(subject[strings.LastIndexByte(subject, '.')+1:], c.prefix)
	index, err := strconv.Atoi(id)
	if !ok || err != nil || index < 0 || index >= c.count {
		return nil
	}
	return c.at(index)
}

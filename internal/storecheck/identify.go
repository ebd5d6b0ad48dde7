package storecheck

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"regexp"
	"strings"

	"roomlink/messages"
)

// subjects are the beginnings of the subjects, by stream.
var subjects = map[string]string{
	messages.ConversationsStream: messages.EventSubjects,
	messages.LinksStream:         messages.LinksSubjects,
	messages.DeadLettersStream:   messages.DeadLetterSubjects,
}

// maxName bounds the end of a subject: an account, a dot and a token.
const maxName = 32 + 1 + 64

// identity is what can be told of a damaged message.
type identity struct {
	// account and token are empty if no conversation can be told.
	account, token string
	// interactionID is empty if only the token is known.
	interactionID string
	// body is the content of the message, as it is.
	body []byte
}

var (
	headerBegin = []byte("NATS/1.0\r\n")
	bodyBegin   = []byte(`{"specversion":`)
	// messageID is the id of an event, see store.MessageID.
	messageID = regexp.MustCompile(`Nats-Msg-Id: ?([a-z0-9-]{1,32})/(~?[A-Za-z0-9_-]{1,64})/\d+`)
	// The fields of a CloudEvent of ours. Each names a part of the conversation once more.
	accountField     = regexp.MustCompile(`"account":"([a-z0-9-]{1,32})"`)
	interactionField = regexp.MustCompile(`"interactionId":("(?:[^"\\]|\\.)*")`)
	sourceField      = regexp.MustCompile(`"source":"roomlink/([a-z0-9-]{1,32})"`)
	subjectField     = regexp.MustCompile(`"subject":("(?:[^"\\]|\\.)*")`)
	tokenPattern     = regexp.MustCompile(`^~?[A-Za-z0-9_-]{1,64}$`)
)

// identify tells the conversation of a damaged message of a stream. A message names it in its
// subject, twice in its body, and an event also in its message id. The damage may have changed one
// of them, so the one that most of them name is the right one.
func identify(stream string, data []byte) identity {
	var found identity
	if begin := bodyOf(data); begin >= 0 {
		found.body = data[begin:max(begin, len(data)-checksumSize)]
	}
	ids := map[string]string{} // by token
	votes := map[[2]string]int{}
	vote := func(account, token string) {
		if messages.ValidateAccount(account) == nil && tokenPattern.MatchString(token) {
			votes[[2]string{account, token}]++
		}
	}
	account, token := splitSubject(stream, data)
	vote(account, token)
	if m := messageID.FindSubmatch(data); m != nil {
		vote(string(m[1]), string(m[2]))
	}
	for _, fields := range [][2]*regexp.Regexp{{accountField, interactionField}, {sourceField, subjectField}} {
		of, quoted := fields[0].FindSubmatch(found.body), fields[1].FindSubmatch(found.body)
		var id string
		if of == nil || quoted == nil || json.Unmarshal(quoted[1], &id) != nil || messages.ValidateInteractionID(id) != nil {
			continue
		}
		ids[messages.Token(id)] = id
		vote(string(of[1]), messages.Token(id))
	}
	if winner, ok := majority(votes, [2]string{account, token}); ok {
		found.account, found.token = winner[0], winner[1]
		found.interactionID = ids[found.token]
	}
	if found.interactionID == "" && messages.ValidateInteractionID(found.token) == nil &&
		messages.Token(found.token) == found.token {
		found.interactionID = found.token
	}
	return found
}

// majority returns the conversation with the most votes. If several have as many, it returns the
// preferred one, or none.
func majority(votes map[[2]string]int, preferred [2]string) (winner [2]string, ok bool) {
	most := 0
	for name, count := range votes {
		switch {
		case count > most:
			winner, most, ok = name, count, true
		case count == most:
			ok = false
		}
	}
	if votes[preferred] == most && most > 0 {
		return preferred, true
	}
	return winner, ok
}

// bodyOf returns the offset of the body; -1 if it cannot be told.
func bodyOf(data []byte) int {
	if begin := bytes.Index(data, bodyBegin); begin >= 0 {
		return begin
	}
	if end := bytes.Index(data, headerEnd); end >= 0 {
		return end + len(headerEnd)
	}
	return -1
}

// splitSubject returns the account and the token of the subject at the begin of a record.
func splitSubject(stream string, data []byte) (account, token string) {
	size := 0
	if len(data) >= headSize {
		size = int(binary.LittleEndian.Uint16(data[headSize-2:]))
	}
	if header := bytes.Index(data, headerBegin); header >= headSize+4 {
		size = header - 4 - headSize // four bytes before the header are its length
	}
	if len(data) < headSize+size {
		return "", ""
	}
	name, ok := strings.CutPrefix(string(data[headSize:headSize+size]), subjects[stream])
	if !ok {
		return "", ""
	}
	account, token, _ = strings.Cut(name, ".")
	return account, token
}

// split cuts a gap into the records of messages that it seems to hold.
func split(stream string, data []byte) [][]byte {
	prefix, ok := subjects[stream]
	if !ok {
		return [][]byte{data}
	}
	var parts [][]byte
	begin := 0
	for at := minRecord + headSize; ; {
		next := bytes.Index(data[min(at, len(data)):], []byte(prefix))
		if next < 0 {
			return append(parts, data[begin:])
		}
		at += next
		// The type of links begins as their subjects do. The length of the subject stands before a subject.
		size := int(binary.LittleEndian.Uint16(data[at-2:]))
		if size > len(prefix) && size <= len(prefix)+maxName && at-headSize-begin >= minRecord {
			parts = append(parts, data[begin:at-headSize])
			begin = at - headSize
		}
		at += len(prefix)
	}
}

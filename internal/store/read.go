package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"roomlink/messages"
)

// Consistency selects the replica of a stream that answers a read.
type Consistency int

const (
	// Any replica answers. That is fast, and the answer may be stale: use it to show.
	Any Consistency = iota
	// Leader answers. Its answer is never stale: use it to decide.
	Leader
)

// readLast reads the last message on a subject. It returns an error that wraps
// [messages.ErrNotFound] if there is none.
func (s *Store) readLast(
	ctx context.Context, stream, subject string, from Consistency,
) (m jetstream.RawStreamMsg, err error) {
	batch, direct := s.batches[stream]
	switch {
	case direct && s.single:
		m, err = batch.last(ctx, subject)
	case direct && from == Any && !s.leaderOnly:
		m, err = getDirect(ctx, s.js, stream, subject)
	default:
		m, err = readLeader(ctx, s.js, stream, query{LastBySubject: subject})
	}
	if err != nil {
		return m, fmt.Errorf("reading stream %q: %w", stream, s.explain(err))
	}
	return m, nil
}

// getDirect is [messages.GetDirect] with [requestTimeout].
func getDirect(ctx context.Context, js jetstream.JetStream, stream, subject string) (jetstream.RawStreamMsg, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return messages.GetDirect(ctx, js, stream, subject)
}

// query selects one message of a stream (NATS ADR-1, STREAM.MSG.GET).
type query struct {
	LastBySubject string `json:"last_by_subj,omitempty"` //nolint:tagliatelle // NATS's own name
	// NextBySubject selects the first message on a subject at or after Sequence.
	NextBySubject string `json:"next_by_subj,omitempty"` //nolint:tagliatelle // NATS's own name
	Sequence      uint64 `json:"seq,omitempty"`
}

// readLeader asks the stream's leader for a message. jetstream.Stream would ask for the
// stream's state first, and any replica for the message if the stream allows direct get.
// readLeader returns [messages.ErrNotFound] if there is no message.
func readLeader(ctx context.Context, js jetstream.JetStream, stream string, q query) (jetstream.RawStreamMsg, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	request, err := json.Marshal(q)
	if err != nil {
		return jetstream.RawStreamMsg{}, err
	}
	reply, err := js.Conn().RequestWithContext(ctx, messages.APIPrefix(js)+"STREAM.MSG.GET."+stream, request)
	if err != nil {
		return jetstream.RawStreamMsg{}, err
	}
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Message struct {
			Subject  string    `json:"subject"`
			Sequence uint64    `json:"seq"`
			Data     []byte    `json:"data"`
			Time     time.Time `json:"time"`
		} `json:"message"`
	}
	if err := json.Unmarshal(reply.Data, &answer); err != nil {
		return jetstream.RawStreamMsg{}, err
	}
	if answer.Error != nil {
		if errors.Is(answer.Error, jetstream.ErrMsgNotFound) {
			return jetstream.RawStreamMsg{}, messages.ErrNotFound
		}
		return jetstream.RawStreamMsg{}, answer.Error
	}
	m := answer.Message
	return jetstream.RawStreamMsg{Subject: m.Subject, Sequence: m.Sequence, Data: m.Data, Time: m.Time}, nil
}

// StreamState returns the state of a stream. Its errors are the broker's.
func (s *Store) StreamState(ctx context.Context, stream string) (jetstream.StreamState, error) {
	info, err := s.StreamInfo(ctx, stream)
	if err != nil {
		return jetstream.StreamState{}, err
	}
	return info.State, nil
}

// StreamInfo returns the configuration and the state of a stream. Its errors are the broker's.
func (s *Store) StreamInfo(ctx context.Context, stream string) (*jetstream.StreamInfo, error) {
	handle, err := s.js.Stream(ctx, stream)
	if err != nil {
		return nil, s.explain(err)
	}
	return handle.CachedInfo(), nil
}

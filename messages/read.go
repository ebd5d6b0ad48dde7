package messages

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Stored is a message with what the stream says of it.
type Stored[T Data] struct {
	Event[T]
	// Subject that it was published on.
	Subject string
	// Sequence of the message in its stream.
	Sequence uint64
	// StoredAt is the stream's own timestamp.
	StoredAt time.Time
}

// Consistency says which replica of a stream answers a read.
type Consistency int

const (
	// Any replica answers: fast, and possibly behind. Good for showing.
	Any Consistency = iota
	// Leader answers: behind nothing. What a decision hangs on is read so.
	Leader
)

// raw is a message as a stream gives it.
type raw struct {
	subject  string
	data     []byte
	sequence uint64
	storedAt time.Time
}

// decodeStored returns an error that wraps [ErrInvalid] for a message that
// breaks the contract, beside what the stream says of it.
func decodeStored[T Data](m raw) (Stored[T], error) {
	e, err := Decode[T](m.data)
	if err != nil {
		err = fmt.Errorf("message %d on %q: %w", m.sequence, m.subject, err)
	}
	return Stored[T]{Event: e, Subject: m.subject, Sequence: m.sequence, StoredAt: m.storedAt}, err
}

// readLast reads the last message of a subject. It returns [ErrNotFound] if
// there is none.
func (c *Client) readLast(ctx context.Context, stream, subject string, from Consistency) (raw, error) {
	lookups, direct := c.direct[stream]
	switch {
	case direct && c.alone:
		return lookups.last(ctx, subject)
	case direct && from == Any:
		return readDirect(ctx, c.nc, stream, subject)
	}
	return readLeader(ctx, c.nc, stream, subject)
}

// readLeader asks the stream's leader for the last message of a subject.
func readLeader(ctx context.Context, nc *nats.Conn, stream, subject string) (raw, error) {
	return get(ctx, nc, stream, getRequest{LastBySubject: subject})
}

// readNext asks the stream's leader for the first message of a subject from a
// sequence on. It returns [ErrNotFound] if there is none.
func readNext(ctx context.Context, nc *nats.Conn, stream, subject string, from uint64) (raw, error) {
	return get(ctx, nc, stream, getRequest{Sequence: max(from, 1), NextBySubject: subject})
}

// getRequest names one message of a stream.
type getRequest struct {
	Sequence      uint64 `json:"seq,omitempty"`
	NextBySubject string `json:"next_by_subj,omitempty"` //nolint:tagliatelle // NATS names it so
	LastBySubject string `json:"last_by_subj,omitempty"` //nolint:tagliatelle // likewise
}

// get asks the stream's leader for one message (NATS ADR-1, STREAM.MSG.GET). It
// returns [ErrNotFound] if there is none.
func get(ctx context.Context, nc *nats.Conn, stream string, request getRequest) (raw, error) {
	var answer struct {
		Message struct {
			Subject  string    `json:"subject"`
			Sequence uint64    `json:"seq"`
			Data     []byte    `json:"data"`
			Time     time.Time `json:"time"`
		} `json:"message"`
	}
	err := apiRequest(ctx, nc, "STREAM.MSG.GET."+stream, request, &answer)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return raw{}, ErrNotFound
	}
	if err != nil {
		return raw{}, fmt.Errorf("reading stream %q: %w", stream, err)
	}
	m := answer.Message
	return raw{subject: m.Subject, data: m.Data, sequence: m.Sequence, storedAt: m.Time}, nil
}

// directRequest bounds the answer to a direct get. Without a bound the server
// (2.15) looks one up in its options, while a change of its users may replace them.
var directRequest = []byte(`{"max_bytes":1048576}`)

// readDirect asks any replica (NATS ADR-31), by a subject that ends in the one
// that is read, so that permissions can be given for it.
func readDirect(ctx context.Context, nc *nats.Conn, stream, subject string) (raw, error) {
	reply, err := ask(ctx, nc, "DIRECT.GET."+stream+"."+subject, directRequest)
	if err != nil {
		return raw{}, fmt.Errorf("reading stream %q: %w", stream, err)
	}
	switch reply.Header.Get("Status") {
	case "":
		return fromDirect(reply, stream)
	case "404":
		return raw{}, ErrNotFound
	}
	return raw{}, statusError(reply, stream)
}

// statusError is what an answer to a direct get says that has no message.
func statusError(reply *nats.Msg, stream string) error {
	return fmt.Errorf("reading stream %q: status %q: %s", stream, reply.Header.Get("Status"), reply.Header.Get("Description"))
}

// fromDirect is the message that answers a direct get.
func fromDirect(reply *nats.Msg, stream string) (raw, error) {
	sequence, err := strconv.ParseUint(reply.Header.Get(jetstream.SequenceHeader), 10, 64)
	if err != nil {
		return raw{}, fmt.Errorf("reading stream %q: the sequence: %w", stream, err)
	}
	storedAt, err := time.Parse(time.RFC3339Nano, reply.Header.Get(jetstream.TimeStampHeaer))
	if err != nil {
		return raw{}, fmt.Errorf("reading stream %q: the time: %w", stream, err)
	}
	return raw{
		subject: reply.Header.Get(jetstream.SubjectHeader), data: reply.Data, sequence: sequence, storedAt: storedAt,
	}, nil
}

// lastSequence is the sequence of the last message that a stream took.
func lastSequence(ctx context.Context, js jetstream.JetStream, stream string) (uint64, error) {
	handle, err := js.Stream(ctx, stream)
	if err != nil {
		return 0, err
	}
	return handle.CachedInfo().State.LastSeq, nil
}

// purgeUpTo takes what a subject has out of a stream, up to a sequence and with
// it; nothing there is no error, and what came later stays.
func purgeUpTo(ctx context.Context, nc *nats.Conn, stream, subject string, sequence uint64) error {
	request := map[string]any{"filter": subject, "seq": sequence + 1}
	if err := apiRequest(ctx, nc, "STREAM.PURGE."+stream, request, nil); err != nil {
		return fmt.Errorf("deleting from stream %q: %w", stream, err)
	}
	return nil
}

// askWithin is how long a request may take whose caller does not say.
const askWithin = 5 * time.Second

// bounded gives a context an end that has none.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, has := ctx.Deadline(); has {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, askWithin)
}

// ask sends a request to the JetStream API.
func ask(ctx context.Context, nc *nats.Conn, call string, body []byte) (*nats.Msg, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	return nc.RequestWithContext(ctx, jetstream.DefaultAPIPrefix+call, body)
}

// apiRequest calls the JetStream API and decodes what it answers into answer,
// unless that is nil. It returns the broker's refusal as a *jetstream.APIError.
func apiRequest(ctx context.Context, nc *nats.Conn, call string, request, answer any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	reply, err := ask(ctx, nc, call, body)
	if err != nil {
		return err
	}
	var refusal struct {
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(reply.Data, &refusal); err != nil {
		return err
	}
	if refusal.Error != nil {
		return refusal.Error
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(reply.Data, answer)
}

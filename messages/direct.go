package messages

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// directRequest bounds the answer to a direct get to 1 MiB. Without a bound,
// nats-server 2.15 reads its options, which a reload of its users may replace.
var directRequest = []byte(`{"max_bytes":1048576}`)

// APIPrefix returns the beginning of the subjects of JetStream's API, with a dot at its end.
// It follows the domain or the prefix that js was made with.
func APIPrefix(js jetstream.JetStream) string {
	switch options := js.Options(); {
	case options.Domain != "":
		return "$JS." + options.Domain + ".API."
	case options.APIPrefix != "":
		return strings.TrimSuffix(options.APIPrefix, ".") + "."
	}
	return jetstream.DefaultAPIPrefix
}

// GetDirect reads the last message on a subject. Any replica answers, so the message
// may be stale (NATS ADR-31). The subject of the request ends in the subject to read, so
// a NATS permission can name it. The context should have a deadline. GetDirect returns
// [ErrNotFound] if there is no message. Other errors are the broker's or the context's.
func GetDirect(ctx context.Context, js jetstream.JetStream, stream, subject string) (jetstream.RawStreamMsg, error) {
	reply, err := js.Conn().RequestWithContext(ctx, APIPrefix(js)+"DIRECT.GET."+stream+"."+subject, directRequest)
	if err != nil {
		return jetstream.RawStreamMsg{}, err
	}
	return DecodeDirect(reply)
}

// DecodeDirect decodes the answer to a direct get. It returns [ErrNotFound] if there is
// no message, and another error for an answer that breaks NATS ADR-31.
func DecodeDirect(reply *nats.Msg) (jetstream.RawStreamMsg, error) {
	header := reply.Header
	switch status := header.Get("Status"); status {
	case "":
	case "404":
		return jetstream.RawStreamMsg{}, ErrNotFound
	default:
		return jetstream.RawStreamMsg{}, fmt.Errorf("direct get: status %q: %s", status, header.Get("Description"))
	}
	sequence, err := strconv.ParseUint(header.Get(jetstream.SequenceHeader), 10, 64)
	if err != nil {
		return jetstream.RawStreamMsg{}, fmt.Errorf("direct get: sequence: %w", err)
	}
	storedAt, err := time.Parse(time.RFC3339Nano, header.Get(jetstream.TimeStampHeaer))
	if err != nil {
		return jetstream.RawStreamMsg{}, fmt.Errorf("direct get: timestamp: %w", err)
	}
	return jetstream.RawStreamMsg{
		Subject: header.Get(jetstream.SubjectHeader), Sequence: sequence, Data: reply.Data, Time: storedAt,
	}, nil
}

// DecodeLive decodes a message of [LiveSubjects] or [FailedSubjects]. Its errors are those
// of [DecodeStored] and [DecodeDirect].
func DecodeLive[T Data](msg *nats.Msg) (Stored[T], error) {
	m, err := DecodeDirect(msg)
	if err != nil {
		return Stored[T]{}, err
	}
	return DecodeStored[T](m)
}

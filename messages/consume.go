package messages

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// maxHeld bounds the messages that a process takes from the broker before it has
	// settled them.
	maxHeld = 64
	// pullTimeout bounds a pull, pullHeartbeat the time until a lost broker is noticed.
	pullTimeout   = 30 * time.Second
	pullHeartbeat = 5 * time.Second
	// endDelay is the time for which a pull still takes what is on its way when it ends. What
	// comes later is lost until the broker delivers it again.
	endDelay = 250 * time.Millisecond
	// keepAliveInterval is well within the time after which the broker delivers again.
	keepAliveInterval = 10 * time.Second
	// maxRedeliveryDelay bounds the delay before the broker delivers a refused message again.
	maxRedeliveryDelay = time.Minute
)

// Consume calls fn with the links of an account, one after the other, and goes on where
// the subscriber of this name stopped, in whichever process. It acknowledges links when
// fn returned nil. When fn returned an error, the broker delivers them again, after 1 s
// and later up to 60 s, unless newer ones replaced them meanwhile.
//
// The same links may come again after a crash of the broker or of this process: write
// them so that a second time changes nothing. Processes that share a name share the
// links, so each should keep its own only if they replace the known ones:
// [Links.Replaces].
//
// Consume survives a restart of the broker and skips messages that break the contract. It
// ends when the context ends, and returns the context's error. At the start it returns an
// error that wraps [ErrInvalid] for an impossible account or name, [ErrPermission] if the
// broker does not permit it, [jetstream.ErrConsumerNotFound] if roomlink has no such
// subscriber, and any other error of the broker. Later it returns one only if the
// subscriber was removed, the permission taken away, or the connection closed.
func (s *Subscriber) Consume(ctx context.Context, account, name string, fn func(Stored[Links]) error) error {
	return consume(ctx, s, durable{LinksStream, account, name}, fn)
}

// ConsumeDeadLetters is [Subscriber.Consume] for the dead letters of an account. The
// subscriber must be permitted to read dead letters.
func (s *Subscriber) ConsumeDeadLetters(
	ctx context.Context, account, name string, fn func(Stored[DeadLetter]) error,
) error {
	return consume(ctx, s, durable{DeadLettersStream, account, name}, fn)
}

// durable names a durable consumer.
type durable struct{ stream, account, subscriber string }

func consume[T Data](ctx context.Context, s *Subscriber, d durable, fn func(Stored[T]) error) error {
	if err := errors.Join(ValidateAccount(d.account), ValidateAccount(d.subscriber)); err != nil {
		return err
	}
	name := DurableName(d.account, d.subscriber)
	ending := "." + d.stream + "." + name
	ctx, stop := s.refusals.guard(ctx, "CONSUMER.INFO"+ending, "CONSUMER.MSG.NEXT"+ending)
	defer stop()
	consumer, err := s.js.Consumer(ctx, d.stream, name)
	for err == nil {
		if err = pull(ctx, s, consumer, fn); err == nil || ctx.Err() != nil {
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(retryDelay):
		}
		if _, err = s.js.Consumer(ctx, d.stream, name); ctx.Err() == nil && !isFinal(err) {
			err = nil
		}
	}
	return fmt.Errorf("consuming %q of stream %q: %w", name, d.stream, because(ctx, err))
}

// isFinal reports whether a broker that works again would still return the error.
func isFinal(err error) bool {
	return errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, nats.ErrConnectionClosed)
}

// pull handles one batch of messages.
func pull[T Data](ctx context.Context, s *Subscriber, consumer jetstream.Consumer, fn func(Stored[T]) error) error {
	pulling, cancel := context.WithTimeout(context.WithoutCancel(ctx), pullTimeout)
	defer cancel()
	end := func() { time.AfterFunc(endDelay, cancel) }
	defer context.AfterFunc(ctx, end)()
	batch, err := consumer.Fetch(maxHeld, jetstream.FetchContext(pulling), jetstream.FetchHeartbeat(pullHeartbeat))
	if err != nil {
		return err
	}
	// A broker that restarted has forgotten the pull.
	connected := s.js.Conn().StatusChanged(nats.CONNECTED)
	defer s.js.Conn().RemoveStatusListener(connected)
	held := make(chan jetstream.Msg, maxHeld)
	var keeping sync.WaitGroup
	defer keeping.Wait()
	done := make(chan struct{})
	defer close(done)
	keeping.Go(func() {
		k := keeper{messages: batch.Messages(), held: held, done: done, connected: connected}
		k.run(end)
	})
	for msg := range held {
		if ctx.Err() != nil {
			_ = msg.NakWithDelay(2 * endDelay) // for the next process, not for this pull
			continue
		}
		settle(ctx, s, msg, fn)
	}
	if pulling.Err() != nil {
		return ctx.Err()
	}
	return batch.Error()
}

// keeper keeps what a pull delivers.
type keeper struct {
	messages <-chan jetstream.Msg
	// held gets the messages, and is closed when there are no more.
	held chan<- jetstream.Msg
	// done is closed when all of them are settled.
	done      <-chan struct{}
	connected <-chan nats.Status
}

// run tells the broker that the messages are in work until done. It ends the pull when the
// connection is a new one.
func (k *keeper) run(end func()) {
	ticker := time.NewTicker(keepAliveInterval)
	defer ticker.Stop()
	var all []jetstream.Msg
	for {
		select {
		case msg, more := <-k.messages:
			if !more {
				close(k.held)
				k.messages = nil
				continue
			}
			all = append(all, msg)
			k.held <- msg
		case <-ticker.C:
			for _, msg := range all {
				_ = msg.InProgress() // does nothing for a settled one
			}
		case <-k.connected:
			end()
			k.connected = nil
		case <-k.done:
			return
		}
	}
}

// settle calls fn and acknowledges the message, or asks for it again. If that does not
// reach the broker, the message comes again.
func settle[T Data](ctx context.Context, s *Subscriber, msg jetstream.Msg, fn func(Stored[T]) error) {
	meta, err := msg.Metadata()
	if err != nil {
		return // not a message of a consumer
	}
	stored, err := DecodeDelivered[T](msg)
	if err != nil {
		_ = msg.Term() // it breaks the contract, and would again
		return
	}
	if meta.NumDelivered > 1 && s.replaced(ctx, msg.Subject(), meta) {
		_ = msg.Ack()
		return
	}
	if err := fn(stored); err != nil {
		_ = msg.NakWithDelay(redeliveryDelay(meta.NumDelivered))
		return
	}
	_ = msg.Ack()
}

// replaced reports whether a message that comes again is not the last one on its subject
// any more: older links must not overwrite newer ones.
func (s *Subscriber) replaced(ctx context.Context, subject string, meta *jetstream.MsgMetadata) bool {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	m, err := GetDirect(ctx, s.js, meta.Stream, subject)
	return err == nil && m.Sequence > meta.Sequence.Stream
}

// redeliveryDelay doubles from 1 s to [maxRedeliveryDelay].
func redeliveryDelay(deliveries uint64) time.Duration {
	return min(time.Second<<min(deliveries-1, 6), maxRedeliveryDelay)
}

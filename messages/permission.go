package messages

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
)

// ErrPermission reports that the broker does not permit this user what it asked for.
var ErrPermission = errors.New("the broker does not permit this")

// refusals learns what the broker refuses. The broker does not answer a request that it
// refuses: it reports the subject to the error handler of the connection.
type refusals struct {
	mu     sync.Mutex
	guards map[*guard]struct{}
}

type guard struct {
	endings []string
	cancel  context.CancelCauseFunc
}

// watchRefusals puts an error handler before that of a connection. It passes on all
// errors that no guard waits for.
func watchRefusals(nc *nats.Conn) *refusals {
	r := &refusals{guards: map[*guard]struct{}{}}
	next := nc.ErrorHandler()
	nc.SetErrorHandler(func(nc *nats.Conn, subscription *nats.Subscription, err error) {
		if !r.refused(err) && next != nil {
			next(nc, subscription, err)
		}
	})
	return r
}

// guard returns a context that ends when the broker refuses a subject with one of the
// endings. Its cause then wraps [ErrPermission].
func (r *refusals) guard(ctx context.Context, endings ...string) (guarded context.Context, stop func()) {
	guarded, cancel := context.WithCancelCause(ctx)
	g := &guard{endings: endings, cancel: cancel}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.guards[g] = struct{}{}
	return guarded, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.guards, g)
		cancel(nil)
	}
}

// refused reports whether an error is a refusal that a guard waits for.
func (r *refusals) refused(err error) (expected bool) {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for g := range r.guards {
		for _, ending := range g.endings {
			if strings.Contains(err.Error(), ending+`"`) {
				g.cancel(fmt.Errorf("%w: %w", ErrPermission, err))
				expected = true
			}
		}
	}
	return expected
}

// because returns why the context ended if it did, and otherwise the error.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

package rig

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"roomlink/internal/store"
	"roomlink/messages"
)

const (
	// maxPreloads bounds the links that are stored at the same time.
	maxPreloads = 512
	// preloadTimeout bounds the storing of one set of links.
	preloadTimeout = 10 * time.Second
	// preloadLifetime is the lifetime of their tickets.
	preloadLifetime = 4 * time.Hour
)

// preload stores links of other conversations than the test's, and stops the system that stored them, so that
// the test finds what a start finds.
func (r *rig) preload(ctx context.Context) (err error) {
	inProcess := *r
	if r.Apart { // a process of its own would not let the test publish links
		inProcess.Apart, inProcess.Chaos = false, false
	}
	s, err := inProcess.start(ctx, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	prefix := "preload-" + strings.ToLower(rand.Text()[:10]) // the store may have links of an earlier test
	links := store.New(s.target.JetStream, store.WithGroupCommit())
	defer links.Close()
	group, storing := errgroup.WithContext(ctx)
	group.SetLimit(maxPreloads)
	for number := range r.Preload {
		event := s.linksEvent(fmt.Sprintf("%s-%09d", prefix, number), number)
		group.Go(func() error {
			ctx, cancel := context.WithTimeout(storing, preloadTimeout)
			defer cancel()
			_, err := links.PublishLinks(ctx, event, 0)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("storing links before the test: %w", err)
	}
	return ctx.Err()
}

// linksEvent returns the links of one conversation.
func (s *system) linksEvent(id string, number int) messages.Event[messages.Links] {
	now := messages.At(time.Now())
	account := s.target.Callers[number%len(s.target.Callers)].Account
	return messages.NewEvent(now, messages.Links{
		Request: messages.Request{
			Conversation: messages.Conversation{Account: account, InteractionID: id},
			CustomerID:   id,
		},
		Generation: 1,
		AgentURL:   s.auvious.URL + "/agent/" + id,
		TicketURL:  messages.Secret(s.auvious.URL + "/t/" + id),
		CreatedAt:  now, ExpiresAt: messages.At(now.Add(preloadLifetime)),
	})
}

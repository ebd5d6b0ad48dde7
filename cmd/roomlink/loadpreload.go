package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"roomlink/internal/secret"
	"roomlink/messages"
)

// preloaders are how many links are stored at once before a test, so that they go
// in groups.
const preloaders = 512

func newSecret() secret.String { return secret.String(rand.Text()) }

// preload stores links of conversations that the test does not touch, and stops
// what it stored them with: the test is to find what a start finds.
func (t *loadTest) preload(ctx context.Context) (err error) {
	together := *t
	together.Apart = false // links are stored by a part of "serve", and not over its network
	s, err := together.start(ctx, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := t.preloadAll(ctx, s); err != nil {
		return fmt.Errorf("storing links before the test: %w", err)
	}
	return nil
}

func (t *loadTest) preloadAll(ctx context.Context, s *loadSystem) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	prefix := "preload-" + strings.ToLower(rand.Text()[:10]) // another store may be there from before
	numbers := make(chan int)
	var storing sync.WaitGroup
	for range min(preloaders, t.Preload) {
		storing.Go(func() {
			for number := range numbers {
				if err := t.preloadOne(ctx, s, prefix, number); err != nil {
					cancel(err)
				}
			}
		})
	}
	for number := range t.Preload {
		if ctx.Err() != nil {
			break
		}
		numbers <- number
	}
	close(numbers)
	storing.Wait()
	s.client.Close()
	return context.Cause(ctx)
}

func (t *loadTest) preloadOne(ctx context.Context, s *loadSystem, prefix string, number int) error {
	ctx, cancel := context.WithTimeout(ctx, provisionWithin)
	defer cancel()
	now := messages.At(time.Now())
	caller := s.target.Callers[number%len(s.target.Callers)]
	id := fmt.Sprintf("%s-%09d", prefix, number)
	conversation := messages.Conversation{Account: caller.Account, InteractionID: id}
	_, err := s.client.PublishLinks(ctx, messages.NewEvent(now, messages.Links{
		Request: messages.Request{Conversation: conversation, CustomerID: id}, Generation: 1,
		AgentURL:  s.auvious.url + "/agent/" + id,
		TicketURL: messages.Secret(s.auvious.url + "/t/" + id),
		CreatedAt: now, ExpiresAt: messages.At(now.Add(4 * time.Hour)),
	}), 0)
	return err
}

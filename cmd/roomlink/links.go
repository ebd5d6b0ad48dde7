package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"roomlink/internal/access"
	"roomlink/internal/app"
	"roomlink/internal/interaction"
	"roomlink/internal/store"
	"roomlink/messages"
)

// linksCommand reads, renews and revokes links.
type linksCommand struct {
	Get    linksGetCommand    `cmd:"" help:"Show the links of a conversation."`
	Watch  linksWatchCommand  `cmd:"" help:"Show links as the broker stores them, until Ctrl-C."`
	Renew  linksRenewCommand  `cmd:"" help:"Replace the links of a conversation with new ones, and show them."`
	Revoke linksRevokeCommand `cmd:"" help:"End the pages and links of a conversation. auvious' ticket itself works until it expires."`
}

// linksQuery is what getting, renewing and revoking share.
type linksQuery struct {
	app.OperatorSettings
	app.PageSettings

	JSON        bool   `name:"json" help:"Print JSON, one document per line."`
	Interaction string `arg:"" help:"The interaction id."`
}

func (q *linksQuery) conversation() messages.Conversation {
	return messages.Conversation{Account: q.Account, InteractionID: q.Interaction}
}

// connect connects as the operator and checks the interaction id. An id with which something
// is stored is good as it is.
func (q *linksQuery) connect(ctx context.Context, env app.Environment) (*store.Store, func(), error) {
	id, refused := interaction.ID(q.Interaction)
	s, disconnect, err := q.Connect(ctx, env)
	if err != nil {
		if refused != nil {
			err = app.UsageError{Err: refused}
		}
		return nil, nil, err
	}
	switch {
	case refused == nil && id == q.Interaction, q.isStored(ctx, s): // good as it is
	case refused == nil:
		q.Interaction = id
	default:
		disconnect()
		return nil, nil, app.UsageError{Err: refused}
	}
	return s, disconnect, nil
}

// isStored reports whether anything is stored for the conversation.
func (q *linksQuery) isStored(ctx context.Context, s *store.Store) bool {
	ctx, cancel := context.WithTimeout(ctx, app.DialTimeout)
	defer cancel()
	state, err := s.State(ctx, q.conversation(), time.Now())
	return err == nil && state.Status != store.StatusUnknown
}

type linksGetCommand struct{ linksQuery }

// Run implements the command.
func (c *linksGetCommand) Run(ctx context.Context, env app.Environment) error {
	state, err := c.state(ctx, env)
	if err != nil {
		return err
	}
	if err := c.print(env, state); err != nil {
		return err
	}
	if state.Links == nil {
		return fmt.Errorf("conversation %q of account %q has no links: its status is %s", c.Interaction, c.Account, state.Status)
	}
	return nil
}

// state reads the state of the conversation, as the operator or as a subscriber.
func (c *linksGetCommand) state(ctx context.Context, env app.Environment) (store.State, error) {
	if account, _, ok := c.Subscriber(); ok {
		return c.subscriberState(ctx, env, account)
	}
	s, disconnect, err := c.connect(ctx, env)
	if err != nil {
		return store.State{}, err
	}
	defer disconnect()
	ctx, cancel := context.WithTimeout(ctx, app.DialTimeout)
	defer cancel()
	return s.State(ctx, c.conversation(), time.Now())
}

// subscriberState reads what a subscriber may know of the conversation: it does not see the
// queue, and dead letters only if that is permitted.
func (c *linksGetCommand) subscriberState(
	ctx context.Context, env app.Environment, account string,
) (store.State, error) {
	subscriber, disconnect, err := c.Subscribe(ctx, env)
	if err != nil {
		return store.State{}, err
	}
	defer disconnect()
	c.Account = account
	var found store.Snapshot
	links, err := subscriber.Links(ctx, c.conversation())
	if err == nil {
		found.Links = &links
	} else if !errors.Is(err, messages.ErrNotFound) {
		return store.State{}, err
	}
	letter, err := subscriber.DeadLetter(ctx, c.conversation())
	if err == nil {
		found.DeadLetter = &letter
	} else if !errors.Is(err, messages.ErrNotFound) && !errors.Is(err, messages.ErrPermission) {
		return store.State{}, err
	}
	return found.State(time.Now()), nil
}

type linksRenewCommand struct {
	linksQuery

	Wait time.Duration `default:"10s" help:"The maximum time to wait for the new links."`
}

// Run implements the command.
func (c *linksRenewCommand) Run(ctx context.Context, env app.Environment) error {
	s, disconnect, err := c.connect(ctx, env)
	if err != nil {
		return err
	}
	defer disconnect()
	ctx, cancel := context.WithTimeout(ctx, app.DialTimeout+c.Wait)
	defer cancel()
	known, err := s.Snapshot(ctx, c.conversation())
	if err != nil {
		return err
	}
	if _, err := s.Renew(ctx, c.conversation(), messages.SourceCLI, time.Now()); err != nil {
		return fmt.Errorf("renewing conversation %q of account %q: %w", c.Interaction, c.Account, err)
	}
	state, err := awaitRenewal(ctx, s, c.conversation(), known)
	if err != nil {
		return fmt.Errorf("the new links of conversation %q are still being made: %w", c.Interaction, err)
	}
	if err := c.print(env, state); err != nil {
		return err
	}
	if state.DeadLetter != nil {
		return fmt.Errorf("conversation %q of account %q got no new links", c.Interaction, c.Account)
	}
	return nil
}

type linksRevokeCommand struct{ linksQuery }

// Run implements the command.
func (c *linksRevokeCommand) Run(ctx context.Context, env app.Environment) error {
	s, disconnect, err := c.connect(ctx, env)
	if err != nil {
		return err
	}
	defer disconnect()
	ctx, cancel := context.WithTimeout(ctx, app.DialTimeout)
	defer cancel()
	links, err := s.Revoke(ctx, c.conversation(), time.Now())
	if errors.Is(err, messages.ErrNotFound) {
		return fmt.Errorf("conversation %q of account %q has no links to revoke", c.Interaction, c.Account)
	}
	if err != nil {
		return fmt.Errorf("revoking the links of conversation %q of account %q: %w", c.Interaction, c.Account, err)
	}
	state := store.State{Status: store.StatusRevoked, Links: &messages.Stored[messages.Links]{}}
	state.Links.Data = links
	event, err := s.Waiting(ctx, c.conversation())
	renewing := err == nil && event.Data.Generation() > links.Generation
	if renewing {
		state.Status = store.StatusPending
	}
	if err := c.print(env, state); err != nil || c.JSON {
		return err
	}
	fmt.Fprintln(env.Stdout, revocationNote(links, renewing))
	return nil
}

// revocationNote says what a revocation does not end.
func revocationNote(links messages.Links, renewing bool) string {
	note := "The pages and links have ended."
	switch {
	case links.ExpiresAt.IsZero():
		note += " A customer who has auvious' ticket can still join, for as long as auvious admits it."
	case !links.Expired(time.Now()):
		note += " A customer who has auvious' ticket can still join until it expires."
	}
	if renewing {
		note += " A renewal is waiting, and will make new links."
	}
	return note
}

// awaitRenewal returns the state after the renewal of a snapshot's links.
func awaitRenewal(
	ctx context.Context, s *store.Store, conversation messages.Conversation, known store.Snapshot,
) (store.State, error) {
	var last store.State
	err := store.NewFeed(s).Follow(ctx, conversation, time.Second, func(state store.State) bool {
		last = state
		return known.AnsweredBy(state)
	})
	return last, err
}

// stateLine is a state as JSON.
type stateLine struct {
	*access.Addresses

	Status     store.Status         `json:"status"`
	Links      *messages.Links      `json:"links,omitempty"`
	DeadLetter *messages.DeadLetter `json:"deadLetter,omitempty"`
}

// print prints a state, and the pages of the conversation if they are known.
func (q *linksQuery) print(env app.Environment, state store.State) error {
	pages, err := q.Pages(env, q.PageSettings, q.conversation())
	if err != nil {
		return err
	}
	out := env.Stdout
	if q.JSON {
		line := stateLine{Addresses: pages, Status: state.Status}
		if state.Links != nil {
			line.Links = &state.Links.Data
		}
		if state.DeadLetter != nil {
			line.DeadLetter = &state.DeadLetter.Data
		}
		return json.NewEncoder(out).Encode(line)
	}
	fmt.Fprintf(out, "status      %s\n", state.Status)
	if state.DeadLetter != nil {
		fmt.Fprintf(out, "reason      %s: %s\n", state.DeadLetter.Data.Reason, state.DeadLetter.Data.Detail)
	}
	if state.Links != nil {
		printLinks(out, state.Links.Data)
	}
	if pages != nil {
		fmt.Fprintf(out, "contextUrl  %s\ncustomerUrl %s\ncardUrl     %s\n", pages.Context, pages.Customer, pages.Card)
	}
	return nil
}

// printLinks prints links for the person who asked for them, with the ticket.
func printLinks(out io.Writer, links messages.Links) {
	if links.Revoked() {
		fmt.Fprintf(out, "revoked     %s\n", links.RevokedAt.Local().Format(time.RFC1123))
	} else {
		fmt.Fprintf(out, "agent       %s\ncustomer    %s\n", links.AgentURL, links.TicketURL.Reveal())
	}
	if links.RecordingURL != "" {
		fmt.Fprintf(out, "recording   %s\n", links.RecordingURL)
	}
	if !links.ExpiresAt.IsZero() {
		fmt.Fprintf(out, "expires     %s\n", links.ExpiresAt.Local().Format(time.RFC1123))
	}
	fmt.Fprintf(out, "generation  %d\n", links.Generation)
}

type linksWatchCommand struct {
	app.OperatorSettings

	JSON    bool `name:"json" help:"Print JSON, one document per line."`
	FromNow bool `help:"Leave out the links that are stored already."`
}

// Run implements the command.
func (c *linksWatchCommand) Run(ctx context.Context, env app.Environment) error {
	err := c.watch(ctx, env, func(stored messages.Stored[messages.Links]) error {
		if c.JSON {
			return json.NewEncoder(env.Stdout).Encode(stored.Data)
		}
		fmt.Fprintf(env.Stdout, "%s  %s\n", stored.StoredAt.Local().Format(time.DateTime), stored.Data.InteractionID)
		printLinks(env.Stdout, stored.Data)
		_, err := fmt.Fprintln(env.Stdout)
		return err
	})
	if errors.Is(err, context.Canceled) {
		return nil // Ctrl-C ends a watch
	}
	return err
}

// watch watches as the operator or as a subscriber.
func (c *linksWatchCommand) watch(
	ctx context.Context, env app.Environment, show func(messages.Stored[messages.Links]) error,
) error {
	if account, _, ok := c.Subscriber(); ok {
		subscriber, disconnect, err := c.Subscribe(ctx, env)
		if err != nil {
			return err
		}
		defer disconnect()
		note := "Showing links from now on: a subscriber cannot list what is stored already."
		return subscriber.Watch(ctx, account, messages.WatchOptions{CatchUp: func(context.Context) error {
			fmt.Fprintln(env.Stderr, note)
			note = "The connection was interrupted, or too slow: links that were stored meanwhile are not shown."
			return nil
		}}, show)
	}
	s, disconnect, err := c.Connect(ctx, env)
	if err != nil {
		return err
	}
	defer disconnect()
	return s.WatchLinks(ctx, c.Account, c.FromNow, show)
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"roomlink/internal/access"
	"roomlink/internal/broker"
	"roomlink/internal/store"
	"roomlink/messages"
)

// dialWithin bounds how long a command waits for the broker.
const dialWithin = 5 * time.Second

// linksCommand reads links.
type linksCommand struct {
	Get   linksGetCommand   `cmd:"" help:"Show the links of a conversation."`
	Watch linksWatchCommand `cmd:"" help:"Show links as they are stored, until Ctrl-C."`
	Renew linksRenewCommand `cmd:"" help:"Have new links made in place of those that a conversation has, and show them."`
}

// readSettings say which broker a command of the operator's reads.
type readSettings struct {
	natsSettings
	storeSettings
	Account string `env:"ROOMLINK_ACCOUNT" default:"default" help:"The name of the account."`
	JSON    bool   `name:"json" help:"Print JSON, one document a line."`
}

// local is the data directory of the embedded broker that is read, or "".
func (s readSettings) local() string {
	if s.NatsURL != "" {
		return ""
	}
	return s.DataDir
}

// client connects as the operator: to the external broker, or to the embedded
// one of a running "serve" on this machine.
func (s readSettings) client(ctx context.Context, w world) (*store.Store, func(), error) {
	config, err := s.remote(w)
	if err != nil {
		return nil, nil, err
	}
	config.Operator, config.Logger = true, zerolog.Nop()
	if config.URL == "" {
		config.URL = "nats://" + s.BrokerListen
		config.User = broker.OperatorUser
		config.Password, err = broker.ReadPassword(s.DataDir, broker.OperatorUser)
		if err != nil {
			return nil, nil, fmt.Errorf("reading the operator's password: %w: is this the data directory "+
				"(ROOMLINK_DATA_DIR) of a running \"roomlink serve\"?", err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, dialWithin)
	defer cancel()
	b, err := broker.Dial(ctx, config)
	if err != nil {
		return nil, nil, fmt.Errorf("connecting to the broker at %s: %w", s.BrokerListen, err)
	}
	js, err := b.Connect("operator")
	if err != nil {
		b.Close()
		return nil, nil, err
	}
	return store.New(js), b.Close, nil
}

type linksGetCommand struct {
	readSettings
	pageSettings

	Interaction string `arg:"" help:"The interaction id."`
}

// Run carries out the command.
func (c *linksGetCommand) Run(ctx context.Context, w world) error {
	client, closeBroker, err := c.client(ctx, w)
	if err != nil {
		return err
	}
	defer closeBroker()
	ctx, cancel := context.WithTimeout(ctx, dialWithin)
	defer cancel()
	conversation := messages.Conversation{Account: c.Account, InteractionID: c.Interaction}
	state, err := client.State(ctx, conversation, time.Now())
	if err != nil {
		return err
	}
	pages, err := c.addresses(w, c.local(), conversation)
	if err != nil {
		return err
	}
	if err := printState(w.stdout, state, pages, c.JSON); err != nil {
		return err
	}
	if state.Links == nil {
		return fmt.Errorf("conversation %q of account %q has no links: it is %s", c.Interaction, c.Account, state.Status)
	}
	return nil
}

// stateLine is a state as JSON.
type stateLine struct {
	*access.Addresses

	Status     store.Status         `json:"status"`
	Links      *messages.Links      `json:"links,omitempty"`
	DeadLetter *messages.DeadLetter `json:"deadLetter,omitempty"`
}

// printState shows a state, and the pages of the conversation if they are known.
func printState(out io.Writer, state store.State, pages *access.Addresses, asJSON bool) error {
	if asJSON {
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

// printLinks shows links to whoever asked for them, the ticket included.
func printLinks(out io.Writer, links messages.Links) {
	fmt.Fprintf(out, "agent       %s\ncustomer    %s\n", links.AgentURL, links.TicketURL.Reveal())
	if links.RecordingURL != "" {
		fmt.Fprintf(out, "recording   %s\n", links.RecordingURL)
	}
	if !links.ExpiresAt.IsZero() {
		fmt.Fprintf(out, "expires     %s\n", links.ExpiresAt.Local().Format(time.RFC1123))
	}
	fmt.Fprintf(out, "generation  %d\n", links.Generation)
}

type linksWatchCommand struct {
	readSettings
	FromNow bool `help:"Leave out the links that are stored already."`
}

// Run carries out the command.
func (c *linksWatchCommand) Run(ctx context.Context, w world) error {
	client, closeBroker, err := c.client(ctx, w)
	if err != nil {
		return err
	}
	defer closeBroker()
	options := messages.WatchOptions{FromNow: c.FromNow}
	err = messages.NewSubscriber(client.JetStream()).Watch(ctx, c.Account, options, func(stored messages.Stored[messages.Links]) error {
		if c.JSON {
			return json.NewEncoder(w.stdout).Encode(stored.Data)
		}
		fmt.Fprintf(w.stdout, "%s  %s\n", stored.StoredAt.Local().Format(time.DateTime), stored.Data.InteractionID)
		printLinks(w.stdout, stored.Data)
		_, err := fmt.Fprintln(w.stdout)
		return err
	})
	if errors.Is(err, context.Canceled) {
		return nil // Ctrl-C is how a watch ends
	}
	return err
}

type linksRenewCommand struct {
	readSettings
	pageSettings

	Wait        time.Duration `default:"10s" help:"How long to wait for the new links."`
	Interaction string        `arg:"" help:"The interaction id."`
}

// Run carries out the command.
func (c *linksRenewCommand) Run(ctx context.Context, w world) error {
	client, closeBroker, err := c.client(ctx, w)
	if err != nil {
		return err
	}
	defer closeBroker()
	ctx, cancel := context.WithTimeout(ctx, dialWithin+c.Wait)
	defer cancel()
	conversation := messages.Conversation{Account: c.Account, InteractionID: c.Interaction}
	known, err := client.Snapshot(ctx, conversation)
	if err != nil {
		return err
	}
	if _, err := client.Renew(ctx, conversation, messages.SourceCLI, time.Now()); err != nil {
		return fmt.Errorf("renewing conversation %q of account %q: %w", c.Interaction, c.Account, err)
	}
	state, err := awaitRenewal(ctx, client, conversation, known)
	if err != nil {
		return fmt.Errorf("waiting for the new links of %q, which still come: %w", c.Interaction, err)
	}
	pages, err := c.addresses(w, c.local(), conversation)
	if err != nil {
		return err
	}
	if err := printState(w.stdout, state, pages, c.JSON); err != nil {
		return err
	}
	if state.DeadLetter != nil {
		return fmt.Errorf("conversation %q of account %q got no new links", c.Interaction, c.Account)
	}
	return nil
}

// awaitRenewal returns the state that the renewal of the known links leads to.
func awaitRenewal(
	ctx context.Context, client *store.Store, conversation messages.Conversation, known store.Snapshot,
) (store.State, error) {
	feed := store.NewFeed(client)
	feedCtx, stop := context.WithCancel(ctx)
	defer stop()
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { _ = feed.Run(feedCtx, nil) }) // it ends with its context
	defer stop()
	var last store.State
	err := feed.Follow(ctx, conversation, time.Second, func(state store.State) bool {
		last = state
		return known.AnsweredBy(state)
	})
	return last, err
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"roomlink/internal/store"
	"roomlink/messages"
)

// changeWithin bounds the replay or discarding of one dead letter.
const changeWithin = 10 * time.Second

// deadLettersCommand works with dead letters.
type deadLettersCommand struct {
	List    deadLettersListCommand    `cmd:"" help:"List dead letters, the oldest first."`
	Show    deadLettersShowCommand    `cmd:"" help:"Show dead letters whole."`
	Replay  deadLettersReplayCommand  `cmd:"" help:"Have the events of dead letters worked on again."`
	Discard deadLettersDiscardCommand `cmd:"" help:"Delete dead letters."`
}

// letterFilter chooses dead letters.
type letterFilter struct {
	Reason      string        `help:"Only those with this reason."`
	OlderThan   time.Duration `help:"Only those that were stored longer ago than this."`
	AllAccounts bool          `help:"Those of every account."`
	Interaction []string      `arg:"" optional:"" help:"Only those of these interaction ids."`
}

// find returns the dead letters that are chosen.
func (f letterFilter) find(
	ctx context.Context, client *store.Store, account string,
) ([]messages.Stored[messages.DeadLetter], error) {
	if f.AllAccounts {
		account = ""
	}
	now := time.Now()
	var found []messages.Stored[messages.DeadLetter]
	err := client.DeadLetters(ctx, account, func(letter messages.Stored[messages.DeadLetter]) error {
		switch {
		case f.Reason != "" && letter.Data.Reason != f.Reason:
		case f.OlderThan > 0 && now.Sub(letter.StoredAt) < f.OlderThan:
		case len(f.Interaction) > 0 && !slices.Contains(f.Interaction, letter.Data.InteractionID):
		default:
			found = append(found, letter)
		}
		return nil
	})
	if err == nil && len(f.Interaction) > 0 && len(found) == 0 {
		err = errors.New("there is no such dead letter")
	}
	return found, err
}

// letterQuery is what listing and showing have in common.
type letterQuery struct {
	readSettings
	letterFilter
}

// print finds the dead letters that are chosen, and prints them as JSON, or in a
// form for people.
func (c letterQuery) print(
	ctx context.Context, w world, forPeople func(io.Writer, []messages.Stored[messages.DeadLetter]) error,
) error {
	client, closeBroker, err := c.client(ctx, w)
	if err != nil {
		return err
	}
	defer closeBroker()
	letters, err := c.find(ctx, client, c.Account)
	if err != nil {
		return err
	}
	if c.JSON {
		return printLetters(json.NewEncoder(w.stdout), letters)
	}
	return forPeople(w.stdout, letters)
}

// printLetters prints one JSON document after the other.
func printLetters(encoder *json.Encoder, letters []messages.Stored[messages.DeadLetter]) error {
	for _, letter := range letters {
		if err := encoder.Encode(letter.Data); err != nil {
			return err
		}
	}
	return nil
}

type deadLettersListCommand struct{ letterQuery }

// Run carries out the command.
func (c *deadLettersListCommand) Run(ctx context.Context, w world) error {
	return c.print(ctx, w, func(out io.Writer, letters []messages.Stored[messages.DeadLetter]) error {
		table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "STORED\tACCOUNT\tINTERACTION\tREASON\tATTEMPTS\tDETAIL")
		for _, letter := range letters {
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%s\n", letter.StoredAt.Local().Format(time.DateTime),
				letter.Data.Account, letter.Data.InteractionID, letter.Data.Reason, letter.Data.Attempts, letter.Data.Detail)
		}
		return table.Flush()
	})
}

type deadLettersShowCommand struct{ letterQuery }

// Run carries out the command.
func (c *deadLettersShowCommand) Run(ctx context.Context, w world) error {
	return c.print(ctx, w, func(out io.Writer, letters []messages.Stored[messages.DeadLetter]) error {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return printLetters(encoder, letters)
	})
}

// letterChange is what replaying and discarding have in common.
type letterChange struct {
	readSettings
	letterFilter
	All    bool `help:"All that the other flags choose; needed if no interaction id is given."`
	DryRun bool `help:"Only say what would be done."`
}

// each carries out a change on every chosen dead letter, and goes on after one
// that fails.
func (c letterChange) each(
	ctx context.Context, w world, done string,
	change func(context.Context, *store.Store, messages.Stored[messages.DeadLetter]) error,
) error {
	if len(c.Interaction) == 0 && !c.All {
		return usagef("give interaction ids, or --all")
	}
	client, closeBroker, err := c.client(ctx, w)
	if err != nil {
		return err
	}
	defer closeBroker()
	letters, err := c.find(ctx, client, c.Account)
	if err != nil {
		return err
	}
	if c.DryRun {
		done = "would be " + done
	}
	var failed []error
	count := 0
	for _, letter := range letters {
		if err := c.one(ctx, client, letter, change); err != nil {
			failed = append(failed, fmt.Errorf("%s of account %s: %w", letter.Data.InteractionID, letter.Data.Account, err))
			continue
		}
		count++
		c.report(w.stdout, letter, done)
	}
	if !c.JSON {
		fmt.Fprintf(w.stdout, "%d of %d %s\n", count, len(letters), done)
	}
	return errors.Join(failed...)
}

func (c letterChange) one(
	ctx context.Context, client *store.Store, letter messages.Stored[messages.DeadLetter],
	change func(context.Context, *store.Store, messages.Stored[messages.DeadLetter]) error,
) error {
	if c.DryRun {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, changeWithin)
	defer cancel()
	return change(ctx, client, letter)
}

func (c letterChange) report(out io.Writer, letter messages.Stored[messages.DeadLetter], done string) {
	if !c.JSON {
		fmt.Fprintf(out, "%s  %s  %s  %s\n", letter.Data.Account, letter.Data.InteractionID, letter.Data.Reason, done)
		return
	}
	_ = json.NewEncoder(out).Encode(map[string]string{
		"account": letter.Data.Account, "interactionId": letter.Data.InteractionID,
		"reason": letter.Data.Reason, "done": done,
	})
}

type deadLettersReplayCommand struct{ letterChange }

// Run carries out the command.
func (c *deadLettersReplayCommand) Run(ctx context.Context, w world) error {
	return c.each(ctx, w, "replayed",
		func(ctx context.Context, client *store.Store, letter messages.Stored[messages.DeadLetter]) error {
			_, err := client.Replay(ctx, letter)
			return err
		})
}

type deadLettersDiscardCommand struct{ letterChange }

// Run carries out the command.
func (c *deadLettersDiscardCommand) Run(ctx context.Context, w world) error {
	return c.each(ctx, w, "discarded",
		func(ctx context.Context, client *store.Store, letter messages.Stored[messages.DeadLetter]) error {
			return client.Discard(ctx, letter)
		})
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"roomlink/internal/app"
	"roomlink/internal/store"
	"roomlink/messages"
)

// changeTimeout bounds the replay or discarding of one dead letter.
const changeTimeout = 10 * time.Second

// storedLetter is a dead letter with its place in the stream.
type storedLetter = messages.Stored[messages.DeadLetter]

// deadLettersCommand handles dead letters.
type deadLettersCommand struct {
	List    deadLettersListCommand    `cmd:"" help:"List dead letters, the oldest first."`
	Show    deadLettersShowCommand    `cmd:"" help:"Show dead letters in full."`
	Replay  deadLettersReplayCommand  `cmd:"" help:"Put the events of dead letters back into the queue."`
	Discard deadLettersDiscardCommand `cmd:"" help:"Delete dead letters."`
}

// letterQuery selects dead letters.
type letterQuery struct {
	app.OperatorSettings

	JSON        bool          `name:"json" help:"Print JSON, one document per line."`
	Reason      string        `help:"Select only this reason."`
	OlderThan   time.Duration `help:"Select only dead letters stored longer ago than this."`
	AllAccounts bool          `help:"Select every account."`
	Interaction []string      `arg:"" optional:"" help:"Select only these interaction ids."`
}

// find returns the selected dead letters.
func (q letterQuery) find(ctx context.Context, s *store.Store) ([]storedLetter, error) {
	account := q.Account
	if q.AllAccounts {
		account = ""
	}
	now := time.Now()
	var found []storedLetter
	err := s.DeadLetters(ctx, account, func(letter storedLetter) error {
		switch {
		case q.Reason != "" && letter.Data.Reason != q.Reason:
		case q.OlderThan > 0 && now.Sub(letter.StoredAt) < q.OlderThan:
		default:
			found = append(found, letter)
		}
		return nil
	})
	if err != nil || len(q.Interaction) == 0 {
		return found, err
	}
	if found = withIDs(found, q.Interaction); len(found) == 0 {
		return nil, errors.New("there is no such dead letter")
	}
	return found, nil
}

// withIDs returns the dead letters with one of the ids. An id with white space around it
// selects those without only if no dead letter has it as it is. Any id may be stored.
func withIDs(letters []storedLetter, ids []string) []storedLetter {
	has := func(id string) bool {
		return slices.ContainsFunc(letters, func(letter storedLetter) bool { return letter.Data.InteractionID == id })
	}
	var wanted []string
	for _, id := range ids {
		if !has(id) {
			id = strings.TrimSpace(id)
		}
		wanted = append(wanted, id)
	}
	return slices.DeleteFunc(letters, func(letter storedLetter) bool {
		return !slices.Contains(wanted, letter.Data.InteractionID)
	})
}

// print prints the selected dead letters as JSON, or in a form for people.
func (q letterQuery) print(
	ctx context.Context, env app.Environment, forPeople func(io.Writer, []storedLetter) error,
) error {
	s, disconnect, err := q.Connect(ctx, env)
	if err != nil {
		return err
	}
	defer disconnect()
	letters, err := q.find(ctx, s)
	if err != nil {
		return err
	}
	if q.JSON {
		return printLetters(json.NewEncoder(env.Stdout), letters)
	}
	return forPeople(env.Stdout, letters)
}

func printLetters(encoder *json.Encoder, letters []storedLetter) error {
	for _, letter := range letters {
		if err := encoder.Encode(letter.Data); err != nil {
			return err
		}
	}
	return nil
}

type deadLettersListCommand struct{ letterQuery }

// Run implements the command.
func (c *deadLettersListCommand) Run(ctx context.Context, env app.Environment) error {
	return c.print(ctx, env, func(out io.Writer, letters []storedLetter) error {
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

// Run implements the command.
func (c *deadLettersShowCommand) Run(ctx context.Context, env app.Environment) error {
	return c.print(ctx, env, func(out io.Writer, letters []storedLetter) error {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return printLetters(encoder, letters)
	})
}

// letterChange is what replaying and discarding share.
type letterChange struct {
	letterQuery

	All    bool `help:"Change all selected dead letters. Required without interaction ids."`
	DryRun bool `help:"Only print what would change."`
}

// each changes every selected dead letter. It goes on after a failure.
func (c letterChange) each(
	ctx context.Context, env app.Environment, done string,
	change func(context.Context, *store.Store, storedLetter) error,
) error {
	if len(c.Interaction) == 0 && !c.All {
		return app.Usagef("give interaction ids, or --all")
	}
	s, disconnect, err := c.Connect(ctx, env)
	if err != nil {
		return err
	}
	defer disconnect()
	letters, err := c.find(ctx, s)
	if err != nil {
		return err
	}
	if c.DryRun {
		done = "would be " + done
		change = func(context.Context, *store.Store, storedLetter) error { return nil }
	}
	var failed []error
	for _, letter := range letters {
		changing, cancel := context.WithTimeout(ctx, changeTimeout)
		err := change(changing, s, letter)
		cancel()
		if err != nil {
			failed = append(failed, fmt.Errorf("%s of account %s: %w", letter.Data.InteractionID, letter.Data.Account, err))
			continue
		}
		c.report(env.Stdout, letter, done)
	}
	if !c.JSON {
		fmt.Fprintf(env.Stdout, "%d of %d %s\n", len(letters)-len(failed), len(letters), done)
	}
	return errors.Join(failed...)
}

func (c letterChange) report(out io.Writer, letter storedLetter, done string) {
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

// Run implements the command.
func (c *deadLettersReplayCommand) Run(ctx context.Context, env app.Environment) error {
	return c.each(ctx, env, "replayed", func(ctx context.Context, s *store.Store, letter storedLetter) error {
		_, err := s.Replay(ctx, letter)
		return err
	})
}

type deadLettersDiscardCommand struct{ letterChange }

// Run implements the command.
func (c *deadLettersDiscardCommand) Run(ctx context.Context, env app.Environment) error {
	return c.each(ctx, env, "discarded", func(ctx context.Context, s *store.Store, letter storedLetter) error {
		return s.Discard(ctx, letter)
	})
}

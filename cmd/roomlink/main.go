// Command roomlink has auvious make a video room when a conversation starts in
// Talkdesk, once, and has its links ready where the agent looks. "roomlink demo"
// shows the whole of it; "roomlink serve" runs it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	_ "golang.org/x/crypto/x509roots/fallback" // for images without certificate authorities

	"github.com/alecthomas/kong"
)

// The exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	os.Exit(run(ctx, os.Args[1:], world{
		lookup: os.LookupEnv, environ: os.Environ, stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
	}))
}

// world is what the program has of the outside.
type world struct {
	lookup         func(string) (string, bool)
	environ        func() []string
	stdin          io.Reader
	stdout, stderr io.Writer
}

// usageError is a fault of whoever called the program, or of its configuration.
type usageError struct{ error }

func usagef(format string, v ...any) error { return usageError{fmt.Errorf(format, v...)} }

// Unwrap lets [errors.Is] find the cause.
func (e usageError) Unwrap() error { return e.error }

// helpShown ends the parsing once help was printed.
type helpShown struct{}

// run carries out one command and returns the exit code.
func run(ctx context.Context, args []string, w world) (code int) {
	defer func() {
		// kong prints help and then wants the process to end.
		switch fault := recover().(type) {
		case nil:
		case helpShown:
			code = exitDone
		default:
			panic(fault)
		}
	}()
	var commands commandLine
	parser, err := kong.New(&commands,
		kong.Name("roomlink"),
		kong.Description("A video room for every conversation: Talkdesk says that one starts, auvious makes the room, "+
			"and its links are there when the agent looks."),
		kong.Writers(w.stdout, w.stderr),
		kong.Exit(func(int) { panic(helpShown{}) }),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Help(helpWithSecrets),
		kong.Groups{"account": "Account:", "broker": "Broker:", "public": "Public HTTP:", "operations": "Operations:"},
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(w),
	)
	if err != nil {
		fmt.Fprintln(w.stderr, "roomlink:", err)
		return exitFailed
	}
	chosen, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(w.stderr, "roomlink: %v\nTry \"roomlink --help\".\n", err)
		return exitUsage
	}
	err = chosen.Run()
	var usage usageError
	switch {
	case err == nil, ctx.Err() != nil && errors.Is(err, context.Canceled):
		return exitDone // a stop that was asked for is no failure
	case errors.As(err, &usage):
		fmt.Fprintln(w.stderr, "roomlink:", err)
		return exitUsage
	}
	fmt.Fprintln(w.stderr, "roomlink:", err)
	return exitFailed
}

// commandLine is every command of the program.
type commandLine struct {
	Demo        demoCommand        `cmd:"" help:"Run everything with a simulated auvious, send a sample conversation and show its links."`
	Serve       serveCommand       `cmd:"" help:"Run webhook, worker and viewer in one process."`
	Webhook     webhookCommand     `cmd:"" help:"Run the webhook alone, against ROOMLINK_NATS_URL."`
	Worker      workerCommand      `cmd:"" help:"Run a worker alone, against ROOMLINK_NATS_URL."`
	Viewer      viewerCommand      `cmd:"" help:"Run the viewer alone, against ROOMLINK_NATS_URL."`
	Send        sendCommand        `cmd:"" help:"Post a sample, or a file, to a webhook as Talkdesk would."`
	Links       linksCommand       `cmd:"" help:"Read the links of conversations."`
	Deadletters deadLettersCommand `cmd:"" name:"deadletters" help:"Work with the events that got no links."`
	Load        loadCommand        `cmd:"" help:"Hold a load test of the whole path, and tell what it found."`
	LoadBroker  loadBrokerCommand  `cmd:"" hidden:"" help:"Run the broker of a load test whose parts are processes."`
	Auvious     auviousCommand     `cmd:"" help:"Run the simulated auvious alone."`
}

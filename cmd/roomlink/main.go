// Command roomlink has auvious make a video room when a conversation starts in
// Talkdesk, and puts the room's links where the agent looks. "roomlink demo" shows it;
// "roomlink serve" runs it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"

	_ "golang.org/x/crypto/x509roots/fallback" // for images without certificate authorities

	"github.com/alecthomas/kong"

	"roomlink/internal/app"
	"roomlink/internal/load/rig"
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
	os.Exit(run(ctx, os.Args[1:], app.Environment{
		Lookup: os.LookupEnv, Environ: os.Environ, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
	}))
}

// commandLine lists the commands.
type commandLine struct {
	Demo        demoCommand        `cmd:"" help:"Run everything with a simulated auvious, send a sample conversation and show its links."`
	Serve       serveCommand       `cmd:"" help:"Run webhook, worker and viewer in one process."`
	Webhook     webhookCommand     `cmd:"" help:"Run the webhook alone, on the broker at ROOMLINK_NATS_URL."`
	Worker      workerCommand      `cmd:"" help:"Run a worker alone, on the broker at ROOMLINK_NATS_URL."`
	Viewer      viewerCommand      `cmd:"" help:"Run the viewer alone, on the broker at ROOMLINK_NATS_URL."`
	Send        sendCommand        `cmd:"" help:"Post a sample, or a file, to a webhook as Talkdesk does, with the key ROOMLINK_TALKDESK_API_KEY."`
	Links       linksCommand       `cmd:"" help:"Read, renew and revoke the links of conversations."`
	Deadletters deadLettersCommand `cmd:"" name:"deadletters" help:"List, show, replay and discard the events that got no links."`
	Subscribers subscribersCommand `cmd:"" help:"Show how far each subscriber is, and remove subscribers."`
	Streams     streamsCommand     `cmd:"" help:"Show the streams and consumers of roomlink, and make what is missing."`
	Check       checkCommand       `cmd:"" help:"Try everything that a start needs, and say what to do. With --ready, ask a running program."`
	Store       storeCommand       `cmd:"" help:"Check the store of the embedded broker."`
	NATS        natsCommand        `cmd:"" name:"nats" help:"Configure an external NATS server."`
	Load        loadCommand        `cmd:"" help:"Run a load test of the whole path."`
	LoadBroker  rig.Broker         `cmd:"" hidden:"" help:"Run the broker of a load test whose parts are processes."`
	Auvious     auviousCommand     `cmd:"" help:"Run the simulated auvious alone."`
}

// helpShown ends parsing after kong has printed help.
type helpShown struct{}

// run runs one command and returns the exit code.
func run(ctx context.Context, args []string, env app.Environment) (code int) {
	defer func() {
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
		kong.Description("A video room for every conversation: Talkdesk reports that one starts, auvious makes the room, "+
			"and the agent finds its links."),
		kong.Writers(env.Stdout, env.Stderr),
		kong.Exit(func(int) { panic(helpShown{}) }),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Help(helpWithSecrets),
		kong.Groups{"account": "Account:", "broker": "Broker:", "public": "Public HTTP:", "operations": "Operations:"},
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(env),
	)
	if err != nil {
		fmt.Fprintln(env.Stderr, "roomlink:", err)
		return exitFailed
	}
	chosen, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(env.Stderr, "roomlink: %v\nTry \"roomlink --help\".\n", err)
		return exitUsage
	}
	err = chosen.Run()
	if err == nil || ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return exitDone // a stop on request is no failure
	}
	fmt.Fprintln(env.Stderr, "roomlink:", err)
	if _, usage := errors.AsType[app.UsageError](err); usage {
		return exitUsage
	}
	return exitFailed
}

// helpWithSecrets prints kong's help, and the secrets for commands that need them.
func helpWithSecrets(options kong.HelpOptions, ctx *kong.Context) error {
	if err := kong.DefaultHelpPrinter(options, ctx); err != nil {
		return err
	}
	node := ctx.Selected()
	if node == nil || !slices.Contains([]string{"serve", "webhook", "worker", "viewer", "check"}, node.Name) {
		return nil
	}
	fmt.Fprint(ctx.Stdout, "\nSecrets, by variable or by file (append _FILE to the name), never by flag:\n")
	for _, s := range app.Secrets() {
		fmt.Fprintf(ctx.Stdout, "  %s\n      %s\n", s.Name, s.Help)
	}
	return nil
}

package main

import (
	"context"

	"roomlink/internal/app"
)

// serveCommand runs everything in one process.
type serveCommand struct{ app.ServeSettings }

// Run implements the command.
func (c *serveCommand) Run(ctx context.Context, env app.Environment) error {
	return wait(app.Serve(ctx, env, c.ServeSettings))
}

// webhookCommand runs the webhook alone.
type webhookCommand struct{ app.WebhookSettings }

// Run implements the command.
func (c *webhookCommand) Run(ctx context.Context, env app.Environment) error {
	return wait(app.Webhook(ctx, env, c.WebhookSettings))
}

// workerCommand runs a worker alone.
type workerCommand struct{ app.WorkerSettings }

// Run implements the command.
func (c *workerCommand) Run(ctx context.Context, env app.Environment) error {
	return wait(app.Worker(ctx, env, c.WorkerSettings))
}

// viewerCommand runs the viewer alone.
type viewerCommand struct{ app.ViewerSettings }

// Run implements the command.
func (c *viewerCommand) Run(ctx context.Context, env app.Environment) error {
	return wait(app.Viewer(ctx, env, c.ViewerSettings))
}

// wait waits until a started program has stopped.
func wait(program *app.App, err error) error {
	if err != nil {
		return err
	}
	return program.Wait()
}

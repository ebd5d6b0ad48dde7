package main

import (
	"context"

	"github.com/go-chi/chi/v5"
)

// frontSettings are those of a part that answers public HTTP.
type frontSettings struct {
	accountSettings
	publicSettings
	natsSettings
	streamSettings
	opsSettings
	logSettings
}

// build makes a part ready that answers public HTTP with some routes.
func (c *frontSettings) build(ctx context.Context, p *process, routes func(site) func(chi.Router)) error {
	if err := p.openTenants(&accountReader{settings: c.accountSettings, wantsCredentials: true}); err != nil {
		return err
	}
	s, err := p.openSite(c.publicSettings, "")
	if err != nil {
		return err
	}
	if err := p.openBroker(ctx, c.natsSettings, c.streamSettings, nil); err != nil {
		return err
	}
	p.addSite(s, routes(s))
	p.addWatcher()
	return p.addOperations(c.opsSettings)
}

// webhookCommand runs the webhook alone.
type webhookCommand struct{ frontSettings }

// Run carries out the command.
func (c *webhookCommand) Run(ctx context.Context, w world) error {
	return runProcess(ctx, w, c.logSettings, func(ctx context.Context, p *process) error {
		return c.build(ctx, p, func(s site) func(chi.Router) { return p.webhook(s, p.addFeed(), c.publicSettings) })
	})
}

// viewerCommand runs the viewer alone.
type viewerCommand struct {
	frontSettings
	viewerSettings
}

// Run carries out the command.
func (c *viewerCommand) Run(ctx context.Context, w world) error {
	return runProcess(ctx, w, c.logSettings, func(ctx context.Context, p *process) error {
		return c.build(ctx, p, func(s site) func(chi.Router) { return p.viewer(s, p.addFeed(), c.viewerSettings) })
	})
}

// workerCommand runs a worker alone.
type workerCommand struct {
	accountSettings
	auviousSettings
	natsSettings
	streamSettings
	opsSettings
	logSettings
}

// Run carries out the command.
func (c *workerCommand) Run(ctx context.Context, w world) error {
	return runProcess(ctx, w, c.logSettings, c.build)
}

func (c *workerCommand) build(ctx context.Context, p *process) error {
	if err := p.openTenants(&accountReader{settings: c.accountSettings, rooms: &c.auviousSettings}); err != nil {
		return err
	}
	if err := p.openBroker(ctx, c.natsSettings, c.streamSettings, nil); err != nil {
		return err
	}
	if err := p.addWorker(c.Grace); err != nil {
		return err
	}
	p.addWatcher()
	return p.addOperations(c.opsSettings)
}

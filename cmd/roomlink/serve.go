package main

import (
	"context"
	"time"

	"github.com/go-chi/chi/v5"

	"roomlink/internal/store"
	"roomlink/internal/telemetry"
	"roomlink/viewer"
	"roomlink/webhook"
	"roomlink/worker"
)

// serveCommand runs everything in one process.
type serveCommand struct {
	accountSettings
	auviousSettings
	publicSettings
	viewerSettings
	natsSettings
	streamSettings
	embeddedSettings
	opsSettings
	logSettings

	// workerLater leaves the worker out; whoever sets it adds one when it is time.
	workerLater bool
}

// Run carries out the command.
func (c *serveCommand) Run(ctx context.Context, w world) error {
	return runProcess(ctx, w, c.logSettings, c.build)
}

func (c *serveCommand) build(ctx context.Context, p *process) error {
	reader := &accountReader{settings: c.accountSettings, rooms: &c.auviousSettings, wantsCredentials: true}
	if err := p.openTenants(reader); err != nil {
		return err
	}
	dataDir := c.DataDir
	if c.NatsURL != "" {
		dataDir = ""
	}
	s, err := p.openSite(c.publicSettings, dataDir)
	if err != nil {
		return err
	}
	if err := p.openBroker(ctx, c.natsSettings, c.streamSettings, &c.embeddedSettings); err != nil {
		return err
	}
	if err := p.keepURL(dataDir); err != nil {
		return err
	}
	if !c.workerLater {
		if err := p.addWorker(c.Grace); err != nil {
			return err
		}
	}
	feed := p.addFeed()
	p.addSite(s, p.webhook(s, feed, c.publicSettings), p.viewer(s, feed, c.viewerSettings))
	p.addWatcher()
	return p.addOperations(c.opsSettings)
}

// webhook returns the webhook's routes.
func (p *process) webhook(s site, feed *store.Feed, settings publicSettings) func(chi.Router) {
	hook := webhook.New(webhook.Config{
		Client: p.client, Feed: feed, Authenticator: s.authenticator, Pages: s.pages,
		Accounts: callersOf(p.tenants.all()), ActionTimeout: settings.ActionTimeout,
		Logger: p.log, Registerer: p.registry,
	})
	p.tenants.parts = append(p.tenants.parts, func(accounts []account) error {
		hook.SetAccounts(callersOf(accounts))
		return nil
	})
	return hook.Routes
}

// viewer returns the viewer's routes.
func (p *process) viewer(s site, feed *store.Feed, settings viewerSettings) func(chi.Router) {
	return viewer.New(viewer.Config{
		Client: p.client, Feed: feed, Authenticator: s.authenticator, Pages: s.pages,
		FrameAncestors: settings.FrameAncestors, Logger: p.log,
	}).Routes
}

// addWorker adds the worker, on a connection of its own.
func (p *process) addWorker(grace time.Duration) error {
	client, err := p.connect("worker")
	if err != nil {
		return err
	}
	known := makers{}
	accounts, err := known.of(p.tenants.all())
	if err != nil {
		return err
	}
	p.noApplication(p.tenants.all())
	w, err := worker.New(worker.Config{
		Client: client, Accounts: accounts, Grace: grace, Logger: p.log, Registerer: p.registry,
	})
	if err != nil {
		return err
	}
	p.tenants.parts = append(p.tenants.parts, func(accounts []account) error {
		p.noApplication(accounts)
		made, err := known.of(accounts)
		if err != nil {
			return err
		}
		return w.SetAccounts(made)
	})
	p.ready = append(p.ready, telemetry.Check{Name: "consumers", Run: func(context.Context) error { return w.Ready() }})
	p.parts = append(p.parts, w.Run)
	return nil
}

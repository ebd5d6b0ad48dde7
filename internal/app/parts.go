package app

import (
	"context"
	"time"

	"roomlink/internal/accounts"
	"roomlink/internal/broker"
	"roomlink/internal/store"
	"roomlink/internal/telemetry"
	"roomlink/messages"
	"roomlink/viewer"
	"roomlink/webhook"
	"roomlink/worker"
)

// ServeSettings configure [Serve].
type ServeSettings struct {
	AccountSettings
	RoomSettings
	PublicSettings
	FrameSettings
	NATSSettings
	StreamSettings
	EmbeddedSettings
	OperationsSettings
	LogSettings

	// WithoutWorker leaves the worker out. [App.AddWorker] adds it.
	WithoutWorker bool `kong:"-"`
	// AnyApplication is that of [webhook.Config].
	AnyApplication bool `kong:"-"`
}

// Serve starts webhook, worker and viewer in one process, with the embedded broker
// unless an external one is configured.
func Serve(ctx context.Context, env Environment, s ServeSettings) (*App, error) {
	return start(ctx, env, s.LogSettings, s.OperationsSettings, func(a *App) error {
		reader := &accountReader{settings: s.AccountSettings, rooms: &s.Rooms, credentials: true, passwords: s.NATSURL == ""}
		if err := a.readAccounts(reader); err != nil {
			return err
		}
		dataDir := s.DataDir
		if s.NATSURL != "" {
			dataDir = ""
		}
		public, err := a.openPublic(s.PublicSettings, dataDir)
		if err != nil {
			return err
		}
		if err := a.openBroker(s.NATSSettings, s.StreamSettings, &s.EmbeddedSettings, broker.RoleServe); err != nil {
			return err
		}
		if err := a.keepURL(dataDir); err != nil {
			return err
		}
		if !s.WithoutWorker {
			if err := a.AddWorker(s.Grace); err != nil {
				return err
			}
		}
		pages, err := a.storeOfPages()
		if err != nil {
			return err
		}
		feed := a.addFeed()
		return a.servePublic(public, a.webhook(public, webhook.Config{
			Feed: feed, ActionTimeout: s.ActionTimeout, AnyApplication: s.AnyApplication,
		}), a.viewer(public, pages, feed, s.FrameSettings))
	})
}

// storeOfPages returns the store of a viewer in the same process as the webhook.
func (a *App) storeOfPages() (*store.Store, error) {
	if a.broker.Embedded() {
		return a.openStore(broker.RoleViewer)
	}
	return a.store, nil // its user is that of the process
}

// WebhookSettings configure [Webhook].
type WebhookSettings struct {
	AccountSettings
	PublicSettings
	NATSSettings
	StreamSettings
	OperationsSettings
	LogSettings
}

// Webhook starts the webhook alone, on an external broker.
func Webhook(ctx context.Context, env Environment, s WebhookSettings) (*App, error) {
	return s.start(ctx, env, broker.RoleWebhook, func(a *App, public publicHTTP, feed *store.Feed) routes {
		return a.webhook(public, webhook.Config{Feed: feed, ActionTimeout: s.ActionTimeout})
	})
}

// start starts one part with public HTTP.
func (s WebhookSettings) start(
	ctx context.Context, env Environment, role broker.Role,
	part func(*App, publicHTTP, *store.Feed) routes,
) (*App, error) {
	return start(ctx, env, s.LogSettings, s.OperationsSettings, func(a *App) error {
		if err := a.readAccounts(&accountReader{settings: s.AccountSettings, credentials: true}); err != nil {
			return err
		}
		public, err := a.openPublic(s.PublicSettings, "")
		if err != nil {
			return err
		}
		if err := a.openBroker(s.NATSSettings, s.StreamSettings, nil, role); err != nil {
			return err
		}
		return a.servePublic(public, part(a, public, a.addFeed()))
	})
}

// ViewerSettings configure [Viewer].
type ViewerSettings struct {
	WebhookSettings
	FrameSettings
}

// Viewer starts the viewer alone, on an external broker.
func Viewer(ctx context.Context, env Environment, s ViewerSettings) (*App, error) {
	return s.start(ctx, env, broker.RoleViewer, func(a *App, public publicHTTP, feed *store.Feed) routes {
		return a.viewer(public, a.store, feed, s.FrameSettings)
	})
}

// WorkerSettings configure [Worker].
type WorkerSettings struct {
	AccountSettings
	RoomSettings
	NATSSettings
	StreamSettings
	OperationsSettings
	LogSettings
}

// Worker starts a worker alone, on an external broker.
func Worker(ctx context.Context, env Environment, s WorkerSettings) (*App, error) {
	return start(ctx, env, s.LogSettings, s.OperationsSettings, func(a *App) error {
		if err := a.readAccounts(&accountReader{settings: s.AccountSettings, rooms: &s.Rooms}); err != nil {
			return err
		}
		if err := a.openBroker(s.NATSSettings, s.StreamSettings, nil, broker.RoleWorker); err != nil {
			return err
		}
		if err := a.AddWorker(s.Grace); err != nil {
			return err
		}
		return nil
	})
}

// webhook adds to config what all parts of the process share.
func (a *App) webhook(public publicHTTP, config webhook.Config) routes {
	a.keeper.need(false, messages.ConversationsStream)
	config.Store, config.Authenticator, config.Pages = a.store, public.authenticator, public.pages
	config.Accounts, config.Logger, config.Registerer = a.accounts.all(), a.log, a.registry
	config.Labels = &a.labels
	hook := webhook.New(config)
	a.accounts.onChange(func(all []accounts.Account) error {
		hook.SetAccounts(all)
		return nil
	})
	return routes{"webhook", hook.Routes}
}

func (a *App) viewer(
	public publicHTTP, reads *store.Store, feed *store.Feed, settings FrameSettings,
) routes {
	a.keeper.need(false, messages.LinksStream, messages.DeadLettersStream)
	pages := viewer.New(viewer.Config{
		Store: reads, Feed: feed, Authenticator: public.authenticator, Pages: public.pages,
		Accounts: a.accounts.all(), FrameAncestors: settings.FrameAncestors, Logger: a.log,
		Registerer: a.registry,
	})
	a.accounts.onChange(func(all []accounts.Account) error {
		pages.SetAccounts(all)
		return nil
	})
	return routes{"viewer", pages.Routes}
}

// AddWorker adds a worker to the running program, on a connection of its own. grace
// bounds the time for current work to finish after a stop.
func (a *App) AddWorker(grace time.Duration) error {
	if !a.broker.Embedded() {
		if err := a.limitExternal(a.accounts.all()); err != nil {
			return err
		}
		a.accounts.onChange(a.limitExternal)
	}
	a.keeper.need(true, messages.ConversationsStream, messages.LinksStream, messages.DeadLettersStream)
	connection, err := a.openStore(broker.RoleWorker)
	if err != nil {
		return err
	}
	clients := facades{}
	made, err := clients.workerAccounts(a.accounts.all())
	if err != nil {
		return err
	}
	a.warnWithoutApplication(a.accounts.all())
	w, err := worker.New(worker.Config{
		Store: connection, Provisioner: a.provisioner, Accounts: made, Grace: grace, Logger: a.log, Registerer: a.registry,
		Labels: &a.labels, Tracer: a.tracer,
	})
	if err != nil {
		return err
	}
	a.accounts.onChange(func(all []accounts.Account) error {
		a.warnWithoutApplication(all)
		made, err := clients.workerAccounts(all)
		if err != nil {
			return err
		}
		return w.SetAccounts(made)
	})
	a.ready = append(a.ready, telemetry.Check{Name: "consumers", Run: func(context.Context) error { return w.Ready() }})
	a.run(w.Run)
	return nil
}

// warnWithoutApplication warns of accounts without an application id: each of their
// events must bring its own.
func (a *App) warnWithoutApplication(all []accounts.Account) {
	for _, one := range all {
		if one.Auvious.ApplicationID == "" {
			a.log.Warn().Str("account", one.Name).
				Msg("no application id is configured: auvious accepts only events that bring their own")
		}
	}
}

package main

import "context"

// webhookCommand runs the webhook alone.
type webhookCommand struct {
	accountSettings
	publicSettings
	natsSettings
	streamSettings
	opsSettings
	logSettings
}

// Run carries out the command.
func (c *webhookCommand) Run(ctx context.Context, w world) error {
	return runProcess(ctx, w, c.logSettings, c.build)
}

func (c *webhookCommand) build(ctx context.Context, p *process) error {
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
	p.addSite(s, p.webhook(s, p.addFeed(), c.publicSettings))
	p.addWatcher()
	return p.addOperations(c.opsSettings)
}

// viewerCommand runs the viewer alone.
type viewerCommand struct {
	accountSettings
	publicSettings
	viewerSettings
	natsSettings
	streamSettings
	opsSettings
	logSettings
}

// Run carries out the command.
func (c *viewerCommand) Run(ctx context.Context, w world) error {
	return runProcess(ctx, w, c.logSettings, c.build)
}

func (c *viewerCommand) build(ctx context.Context, p *process) error {
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
	p.addSite(s, p.viewer(s, p.addFeed(), c.viewerSettings))
	p.addWatcher()
	return p.addOperations(c.opsSettings)
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

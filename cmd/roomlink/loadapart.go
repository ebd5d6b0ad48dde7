package main

import (
	"context"

	"roomlink/internal/broker"
	"roomlink/internal/secret"
)

// startApart runs "serve" as one process, beside that of the simulated auvious, and
// returns once it is ready. The test itself is its operator then.
func (p *loadParts) startApart(ctx context.Context) error {
	if err := p.startAuvious(ctx); err != nil {
		return err
	}
	arguments, secrets, err := p.serve()
	if err != nil {
		return err
	}
	if err := p.run(ctx, "serve", secrets, arguments...); err != nil {
		return err
	}
	if err := p.await(ctx, "http://"+p.workerOps+"/readyz"); err != nil {
		return err
	}
	return p.connect(ctx)
}

// serve are the arguments and the secrets of a "serve".
func (p *loadParts) serve() ([]string, map[string]secret.String, error) {
	arguments, secrets := []string{
		"serve", "--accounts=" + p.system.accounts, "--data-dir=" + p.test.storeIn("broker"),
		"--sync=" + p.test.Sync.String(), "--broker-listen=" + p.brokerAt,
		"--ops-listen=" + p.workerOps, "--log-level=" + p.test.LogLevel,
	}, map[string]secret.String{}
	if p.test.NatsURL != "" {
		var err error
		if arguments, secrets, err = p.common("serve", p.workerOps); err != nil {
			return nil, nil, err
		}
	}
	secrets[linkKey] = newSecret() + newSecret()
	return append(arguments, "--listen="+p.webhookAt), secrets, nil
}

// operator is how the test reads the broker of a "serve".
func (p *loadParts) operator() (broker.RemoteConfig, error) {
	password, err := broker.ReadPassword(p.test.storeIn("broker"), broker.OperatorUser)
	return broker.RemoteConfig{
		URL: "nats://" + p.brokerAt, User: broker.OperatorUser, Password: password, Operator: true,
	}, err
}

package main

import (
	"context"

	"roomlink/internal/broker"
	"roomlink/internal/secret"
)

// startServe runs "serve" as one process, and returns once it is ready.
func (p *loadParts) startServe(ctx context.Context) error {
	arguments, secrets, err := p.serve()
	if err != nil {
		return err
	}
	secrets[linkKey] = newSecret() + newSecret()
	if err := p.run(ctx, "serve", secrets, append(arguments, "--listen="+p.webhookAt)...); err != nil {
		return err
	}
	return p.await(ctx, "http://"+p.workerOps+"/readyz")
}

// serve are the arguments and the secrets of a "serve", on its own broker unless an
// external one is given.
func (p *loadParts) serve() ([]string, map[string]secret.String, error) {
	if p.test.NatsURL != "" {
		return p.common("serve", p.workerOps)
	}
	return []string{
		"serve", "--accounts=" + p.system.accounts, "--data-dir=" + p.test.brokerDir(),
		"--sync=" + p.test.Sync.String(), "--broker-listen=" + p.brokerAt,
		"--ops-listen=" + p.workerOps, "--log-level=" + p.test.LogLevel,
	}, map[string]secret.String{}, nil
}

// operator is how the test reads the broker of a "serve": as its operator.
func (p *loadParts) operator() (broker.RemoteConfig, error) {
	password, err := broker.ReadPassword(p.test.brokerDir(), broker.OperatorUser)
	return broker.RemoteConfig{
		URL: "nats://" + p.brokerAt, User: broker.OperatorUser, Password: password, Operator: true,
	}, err
}

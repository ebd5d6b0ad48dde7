package main

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"roomlink/internal/broker"
	"roomlink/internal/programtest"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/secret"
	"roomlink/internal/simulator"
)

// TestBrokerTLS secures the embedded broker. The parts in the process work, the operator's
// commands need no setting, also after a change of the certificate, and others need its
// certificate.
func TestBrokerTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeFiles(t, dir, selfSigned(t, "first.example", time.Now().Add(time.Hour)))
	env := programtest.ServeEnv(t, programtest.StartAuvious(t, simulator.Config{}).URL)
	env["ROOMLINK_BROKER_LISTEN"] = programtest.FreeAddress(t)
	served := map[string]string{
		"ROOMLINK_BROKER_TLS_CERT": filepath.Join(dir, "cert.pem"), "ROOMLINK_BROKER_TLS_KEY": filepath.Join(dir, "key.pem"),
	}
	maps.Copy(served, env)
	base := start(t, served, "serve").Address("public")
	programtest.Post(t, base, "call-1")
	programtest.Ready(t, base, "call-1")
	if code, stdout, stderr := command(t, env, "links", "get", "call-1"); code != 0 || !strings.Contains(stdout, "ready") {
		t.Errorf("links get: got exit code %d, want 0 and the links\n%s", code, stderr)
	}
	dial := func(server string, options ...nats.Option) error {
		password, err := secret.ReadFile(broker.OperatorPassword(env["ROOMLINK_DATA_DIR"]))
		if err != nil {
			t.Fatalf("reading the operator's password: %v", err)
		}
		options = append(options, nats.UserInfo("operator", password.Reveal()), nats.Timeout(roomlinktest.Timeout))
		conn, err := nats.Connect(server, options...)
		if err == nil {
			conn.Close()
		}
		return err
	}
	server := "tls://" + env["ROOMLINK_BROKER_LISTEN"]
	if err := dial(server); err == nil {
		t.Error("a client without the certificate: got a connection, want an error")
	}
	if err := dial(server, nats.RootCAs(served["ROOMLINK_BROKER_TLS_CERT"])); err == nil || !strings.Contains(err.Error(), "first.example") &&
		!strings.Contains(err.Error(), "IP SANs") {
		t.Errorf("a client that checks the name: got error %v, want one about the name", err)
	}

	second := selfSigned(t, "second.example", time.Now().Add(time.Hour))
	writeFiles(t, dir, second)
	for ctx := roomlinktest.Context(t); ; { // the data directory has it after the broker has it
		kept, err := os.ReadFile(filepath.Join(env["ROOMLINK_DATA_DIR"], "broker.crt"))
		if err != nil || ctx.Err() != nil {
			t.Fatalf("waiting for the changed certificate: got error %v", errors.Join(err, ctx.Err()))
		}
		if strings.TrimSpace(string(kept)) == strings.TrimSpace(second["cert.pem"]) {
			break
		}
	}
	if code, _, stderr := command(t, env, "links", "get", "call-1"); code != 0 {
		t.Errorf("links get after a change of the certificate: got exit code %d, want 0\n%s", code, stderr)
	}
}

package main

import (
	"strings"
	"testing"
)

// TestNATSConfig compares deploy/nats.conf with the command that printed it.
func TestNATSConfig(t *testing.T) {
	t.Parallel()
	code, out, errors := command(t, map[string]string{"ROOMLINK_SUBSCRIBERS": "crm"}, "nats", "config",
		"--listen", "0.0.0.0:4222", "--http", "0.0.0.0:8222", "--tls-cert", "/etc/nats/tls.crt", "--tls-key", "/etc/nats/tls.key")
	if code != 0 || out != readFile(t, "../../deploy/nats.conf") {
		t.Errorf("got exit code %d with %q, and a text that differs from deploy/nats.conf", code, errors)
	}
}

func TestNATSConfigHidesPasswords(t *testing.T) {
	t.Parallel()
	env := map[string]string{
		"ROOMLINK_SUBSCRIBERS": "crm", "ROOMLINK_NATS_WORKER_PASSWORD": "123456",
		"ROOMLINK_SUBSCRIBER_DEFAULT__CRM_PASSWORD": "8GB",
	}
	code, out, _ := command(t, env, "nats", "config")
	if code != 0 || strings.Contains(out, "123456") || strings.Contains(out, "8GB") || strings.Count(out, `password: "$2a$`) != 2 {
		t.Errorf("got exit code %d and %d hashes, want 0 and 2, and no password", code, strings.Count(out, `password: "$2a$`))
	}
}

func TestNATSConfigRefusals(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"--listen", "0.0.0.0:4222"},
		{"--listen", "nonsense"},
		{"--http", `127.0.0.1:8222" }`},
		{"--tls-cert", "cert.pem"},
	} {
		if code, _, text := command(t, nil, append([]string{"nats", "config"}, args...)...); code != 2 || !strings.Contains(text, "--") {
			t.Errorf("%q: got exit code %d and %q, want 2 and what to set", args, code, text)
		}
	}
	env := map[string]string{"ROOMLINK_NATS_WORKER_PASSWORD": strings.Repeat("p", 73)}
	if code, _, text := command(t, env, "nats", "config"); code != 2 || !strings.Contains(text, "worker") {
		t.Errorf("a password of 73 bytes: got exit code %d and %q, want 2 and the user", code, text)
	}
	env = map[string]string{"ROOMLINK_SUBSCRIBERS": "crm,crm"}
	if code, _, text := command(t, env, "nats", "config"); code != 2 || !strings.Contains(text, "twice") {
		t.Errorf("a subscriber twice: got exit code %d and %q, want 2 and the reason", code, text)
	}
}

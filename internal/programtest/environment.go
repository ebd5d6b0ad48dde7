package programtest

import (
	"context"
	"net"
	"net/http/httptest"
	"os"
	"testing"

	"roomlink/internal/simulator"
	"roomlink/internal/web"
)

// The credentials of [ServeEnv]. Tests search logs and pages for them.
const (
	AuviousClient  = "auvious-client"
	AuviousSecret  = "auvious-client-secret-44cd"
	APIKey         = "api-key-7f3a91c2d4"
	BasicPassword  = "basic-password-5d8e02"
	TalkdeskSecret = "talkdesk-client-secret-91ab"
	LinkKey        = "link-key-0123456789abcdef0123456789abcdef"
)

// freePort lets the system choose a port on loopback.
const freePort = "127.0.0.1:0"

// Auvious is a running simulator.
type Auvious struct {
	*simulator.Simulator

	URL string
}

// StartAuvious runs a simulator with the credentials of [ServeEnv] until the test ends.
func StartAuvious(tb testing.TB, config simulator.Config) Auvious {
	tb.Helper()
	config.ClientID, config.ClientSecret = AuviousClient, AuviousSecret
	auvious, err := simulator.New(config)
	if err != nil {
		tb.Fatalf("simulating auvious: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	server := httptest.NewUnstartedServer(auvious)
	server.Config.BaseContext = func(net.Listener) context.Context { return ctx }
	server.Start()
	tb.Cleanup(func() {
		cancel() // ends waiting calls
		server.Close()
	})
	return Auvious{auvious, server.URL}
}

// ServeEnv returns an environment for "roomlink serve" with free ports on loopback, a new data
// directory and the given auvious. With ROOMLINK_NATS_URL added, it also suits each part.
func ServeEnv(tb testing.TB, auviousURL string) map[string]string {
	tb.Helper()
	return map[string]string{
		"ROOMLINK_AUVIOUS_URL":             auviousURL,
		"ROOMLINK_AUVIOUS_CLIENT_ID":       AuviousClient,
		"ROOMLINK_AUVIOUS_CLIENT_SECRET":   AuviousSecret,
		"ROOMLINK_AUVIOUS_APPLICATION_ID":  "app-1",
		"ROOMLINK_AUVIOUS_ORGANIZATION_ID": "org-1",
		"ROOMLINK_TALKDESK_API_KEY":        APIKey,
		"ROOMLINK_TALKDESK_BASIC_USER":     "talkdesk",
		"ROOMLINK_TALKDESK_BASIC_PASSWORD": BasicPassword,
		"ROOMLINK_TALKDESK_CLIENT_ID":      "studio",
		"ROOMLINK_TALKDESK_CLIENT_SECRET":  TalkdeskSecret,
		"ROOMLINK_LINK_KEY":                LinkKey,
		"ROOMLINK_LISTEN":                  freePort,
		"ROOMLINK_OPS_LISTEN":              freePort,
		"ROOMLINK_BROKER_LISTEN":           freePort,
		"ROOMLINK_DATA_DIR":                tb.TempDir(),
		"ROOMLINK_LOG_LEVEL":               "trace",
	}
}

// FreeAddress returns a free address on loopback. The system never assigns its port to an
// outgoing connection, so a killed server can listen on it again.
func FreeAddress(tb testing.TB) string {
	tb.Helper()
	addresses, err := web.FreeAddresses(1)
	if err != nil {
		tb.Fatal(err)
	}
	return addresses[0]
}

// Skipf skips a test that needs something that this machine lacks. With CI=true in the
// environment it fails the test, so that CI runs every test.
func Skipf(tb testing.TB, format string, args ...any) {
	tb.Helper()
	if os.Getenv("CI") == "true" && !testing.Short() { //nolint:forbidigo // tests have no settings
		tb.Fatalf(format, args...)
	}
	tb.Skipf(format, args...)
}

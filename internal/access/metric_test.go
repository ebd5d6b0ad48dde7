package access_test

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"roomlink/internal/access"
	"roomlink/internal/accounts"
	"roomlink/internal/roomlinktest"
)

// The last use of two keys of one name is that of the later one, also after the accounts were set again.
func TestLastUse(t *testing.T) {
	const metric = "roomlink_credential_last_use_timestamp_seconds"
	acme := account("acme", accounts.Credentials{APIKeys: []accounts.APIKey{
		{Name: "rotated", Key: "old"}, {Name: "rotated", Key: "new"}, {Name: "unused", Key: "unused"},
	}})
	for range 20 { // the order of a map is random
		registry := prometheus.NewRegistry()
		authenticator, err := access.NewAuthenticator(access.Config{
			Keys: newKeys(t, keyA), Accounts: []accounts.Account{acme}, Registerer: registry,
		})
		if err != nil {
			t.Fatalf("making an authenticator: %v", err)
		}
		if _, err := authenticator.Authenticate(with("X-API-Key", "new"), noon); err != nil {
			t.Fatalf("authenticating: %v", err)
		}
		if err := authenticator.SetAccounts([]accounts.Account{acme}); err != nil {
			t.Fatalf("setting the accounts: %v", err)
		}
		for name, want := range map[string]float64{"rotated": float64(noon.Unix()), "unused": 0} {
			if got := roomlinktest.SumMetric(t, registry, metric, "account", "acme", "credential", name); got != want {
				t.Errorf("last use of %q: got %v, want %v", name, got, want)
			}
		}
	}
}

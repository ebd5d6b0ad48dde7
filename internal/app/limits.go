package app

import (
	"context"
	"errors"
	"fmt"

	"roomlink/internal/accounts"
	"roomlink/internal/broker"
	"roomlink/internal/store"
)

// limitEmbedded returns a [UsageError] for more accounts than the embedded broker serves.
func limitEmbedded(all []accounts.Account) error {
	if len(all) > broker.MaxAccounts {
		return Usagef("%d accounts are configured: the embedded broker serves at most %d; "+
			"divide the accounts among several processes", len(all), broker.MaxAccounts)
	}
	return nil
}

// limitExternal returns a [UsageError] if an external broker has no room for the consumers
// of all accounts. The broker says so only when it gets one consumer too many, so
// limitExternal creates them. Other errors are for the worker, which tries again.
func (a *App) limitExternal(all []accounts.Account) error {
	for i, one := range all {
		ctx, cancel := context.WithTimeout(a.ctx, provisionTimeout)
		_, err := store.ProvisionConsumer(ctx, a.provisioner, one.Name)
		cancel()
		if errors.Is(err, store.ErrTooManyConsumers) {
			return UsageError{fmt.Errorf("the broker has room for %d of %d accounts: %w", i, len(all), err)}
		}
		if err != nil {
			return nil //nolint:nilerr // see above
		}
	}
	return nil
}

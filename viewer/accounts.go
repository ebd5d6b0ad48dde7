package viewer

import (
	"context"

	"roomlink/internal/accounts"
)

// lifetimes has a lifetime for each configured account.
type lifetimes map[string]lifetime

// lifetime ends when its account is removed.
type lifetime struct {
	ctx context.Context //nolint:containedctx // it ends the streams of the account
	end context.CancelFunc
}

// SetAccounts replaces the accounts whose pages exist. It ends the event streams of a removed account.
func (v *Viewer) SetAccounts(all []accounts.Account) {
	next := make(lifetimes, len(all))
	var before lifetimes
	if old := v.accounts.Load(); old != nil {
		before = *old
	}
	for _, account := range all {
		kept, ok := before[account.Name]
		if !ok {
			kept.ctx, kept.end = context.WithCancel(context.Background())
		}
		next[account.Name] = kept
	}
	v.accounts.Store(&next)
	for name, old := range before {
		if _, ok := next[name]; !ok {
			old.end()
		}
	}
}

// onRemoval calls end when the account is removed, or at once if it is not configured. It does not call end after stop.
func (v *Viewer) onRemoval(account string, end func()) (stop func()) {
	configured, ok := (*v.accounts.Load())[account]
	if !ok {
		end()
		return func() {}
	}
	release := context.AfterFunc(configured.ctx, end)
	return func() { release() }
}

package telemetry

import "sync"

const (
	// MaxAccounts is the number of accounts with a label of their own in the metrics.
	MaxAccounts = 100
	// OtherAccounts is the label of all further accounts, and of accounts that are not configured.
	OtherAccounts = "other"
)

// AccountLabels bounds the label "account" of the metrics. The first [MaxAccounts] accounts keep their names, and all
// others share [OtherAccounts]. The zero value is ready, and nil keeps every name. Many goroutines may use it at once.
type AccountLabels struct {
	mu    sync.Mutex
	known map[string]bool
}

// Of returns the label of a configured account. It stays the same as long as the process runs.
func (l *AccountLabels) Of(account string) string {
	if l == nil {
		return account
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known[account] {
		return account
	}
	if len(l.known) >= MaxAccounts {
		return OtherAccounts
	}
	if l.known == nil {
		l.known = map[string]bool{}
	}
	l.known[account] = true
	return account
}

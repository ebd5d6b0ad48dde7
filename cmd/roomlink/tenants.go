package main

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/rs/zerolog"

	"roomlink/internal/access"
	"roomlink/internal/filewatch"
	"roomlink/webhook"
	"roomlink/worker"
)

// tenants are the accounts of a process as they are configured now, and the parts
// that hear when they change.
type tenants struct {
	reader *accountReader
	log    zerolog.Logger
	// reloads counts by outcome.
	reloads *prometheus.CounterVec
	// parts take the accounts over. One that refuses them ends the change; it comes
	// before those that cannot refuse.
	parts []func([]account) error

	mu  sync.Mutex
	now []account
}

// openTenants reads the accounts. Its errors are usage errors.
func (p *process) openTenants(reader *accountReader) error {
	reader.world = p.world
	accounts, err := reader.read()
	if err != nil {
		return usageError{err}
	}
	p.tenants = &tenants{
		reader: reader, log: p.log, now: accounts,
		reloads: promauto.With(p.registry).NewCounterVec(prometheus.CounterOpts{
			Name: "roomlink_account_reloads_total",
			Help: "Changes of the accounts' files by outcome: applied, refused.",
		}, []string{"outcome"}),
	}
	p.watch(p.tenants.files, p.tenants.reload)
	return nil
}

// all returns the accounts as they are now.
func (t *tenants) all() []account {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.now
}

// names returns those of the accounts.
func (t *tenants) names() []string { return namesOf(t.all()) }

func namesOf(accounts []account) []string {
	var names []string
	for _, a := range accounts {
		names = append(names, a.name)
	}
	return names
}

// files returns what the accounts were read from.
func (t *tenants) files() []string { return t.reader.files }

// reload reads the accounts anew and has every part take them over. Accounts that
// cannot be read are refused, and the old ones go on.
func (t *tenants) reload() {
	before := t.reader.files
	accounts, err := t.reader.read()
	if err == nil && reflect.DeepEqual(accounts, t.all()) {
		return
	}
	if err == nil {
		err = t.apply(accounts)
	}
	if err != nil {
		t.reader.files = append(t.reader.files, before...) // mending may be in any of them
		t.reloads.WithLabelValues("refused").Inc()
		t.log.Error().Err(err).Msg("changed accounts refused: the old ones go on")
		return
	}
	t.reloads.WithLabelValues("applied").Inc()
	t.log.Info().Strs("accounts", namesOf(accounts)).Msg("accounts changed")
}

func (t *tenants) apply(accounts []account) error {
	for _, take := range t.parts {
		if err := take(accounts); err != nil {
			return err
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now = accounts
	return nil
}

// watch has a function called when one of some files has changed.
func (p *process) watch(files func() []string, changed func()) {
	p.watched = append(p.watched, files)
	p.seen.Add(files()...)
	p.onChange = append(p.onChange, changed)
}

// addWatcher adds the one watcher of all files that are read again.
func (p *process) addWatcher() {
	watcher := filewatch.Watcher{
		Since: p.seen,
		Files: func() []string {
			var all []string
			for _, files := range p.watched {
				all = append(all, files()...)
			}
			return all
		},
		Changed: func() {
			for _, changed := range p.onChange {
				changed()
			}
		},
	}
	p.parts = append(p.parts, watcher.Run)
}

// credentialsOf are what opens the accounts.
func credentialsOf(accounts []account) []access.Account {
	var all []access.Account
	for _, a := range accounts {
		all = append(all, a.credentials)
	}
	return all
}

// callersOf are what the webhook needs to know of the accounts.
func callersOf(accounts []account) []webhook.Account {
	var all []webhook.Account
	for _, a := range accounts {
		all = append(all, a.webhook())
	}
	return all
}

// makers turns accounts into those of a worker, and keeps the client of one that
// has not changed.
type makers map[string]maker

type maker struct {
	rooms rooms
	made  worker.Account
}

func (m makers) of(accounts []account) ([]worker.Account, error) {
	var all []worker.Account
	for _, a := range accounts {
		known, ok := m[a.name]
		if !ok || !reflect.DeepEqual(known.rooms, a.rooms) {
			made, err := a.worker()
			if err != nil {
				return nil, err
			}
			known = maker{a.rooms, made}
			m[a.name] = known
		}
		all = append(all, known.made)
	}
	for name := range m {
		if !slices.ContainsFunc(accounts, func(a account) bool { return a.name == name }) {
			delete(m, name)
		}
	}
	return all, nil
}

// reportRemoved says what waits for accounts that are gone.
func (p *process) reportRemoved(accounts []account) error {
	for _, old := range p.tenants.names() {
		if slices.Contains(namesOf(accounts), old) {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), provisionWithin)
		waiting, _, err := p.client.Depth(ctx, old, time.Now())
		cancel()
		line := p.log.Warn().Str("account", old)
		if err != nil {
			line = line.AnErr("depth_error", err)
		}
		line.Uint64("waiting", waiting).Msg("account removed: its waiting events stay in the queue")
	}
	return nil
}

// noApplication warns of accounts whose events all have to bring an application
// id of their own.
func (p *process) noApplication(accounts []account) {
	for _, a := range accounts {
		if a.rooms.applicationID == "" {
			p.log.Warn().Str("account", a.name).
				Msg("no application id is configured: auvious takes only events that bring their own")
		}
	}
}

// openMode is the account that everybody is let into, if that was asked for.
func openMode(settings publicSettings, accounts []account) (string, error) {
	empty := !slices.ContainsFunc(accounts, func(a account) bool { return !a.credentials.Empty() })
	switch {
	case !settings.InsecureNoAuth && empty:
		return "", usagef("no credentials of Talkdesk are configured: set %s, %s with its user, or %s with its id",
			talkdeskKey, talkdeskBasic, talkdeskSecret)
	case !settings.InsecureNoAuth:
		return "", nil
	case len(accounts) != 1:
		return "", usagef("--insecure-no-auth is for one account: there are %d", len(accounts))
	}
	return accounts[0].name, nil
}

// String names the account, and nothing of what is configured for it.
func (a account) String() string { return fmt.Sprintf("account %q", a.name) }

package app

import (
	"context"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/rs/zerolog"

	"roomlink/internal/accounts"
)

// accountSet is the current accounts of a process.
type accountSet struct {
	reader  *accountReader
	log     zerolog.Logger
	reloads *prometheus.CounterVec
	// listeners take over changed accounts. The first one to refuse them ends the change,
	// so a listener that may refuse comes before those that may not.
	listeners []func([]accounts.Account) error

	mu      sync.Mutex
	current []accounts.Account
}

// readAccounts reads the accounts and watches their files. Its errors are
// [UsageError]s.
func (a *App) readAccounts(reader *accountReader) error {
	reader.env = a.env
	all, err := reader.read()
	if err != nil {
		return UsageError{err}
	}
	a.accounts = &accountSet{
		reader: reader, log: a.log, current: all,
		reloads: promauto.With(a.registry).NewCounterVec(prometheus.CounterOpts{
			Name: "roomlink_account_reloads_total",
			Help: "Changes of the accounts' files by outcome: applied, refused.",
		}, []string{"outcome"}),
	}
	a.files.Add(func() []string { return reader.files }, a.accounts.reload)
	return nil
}

func (s *accountSet) all() []accounts.Account {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

func (s *accountSet) names() []string { return names(s.all()) }

// onChange adds a listener. Call it before the files are watched.
func (s *accountSet) onChange(listener func([]accounts.Account) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listeners = append(s.listeners, listener)
}

// reload reads the accounts again and passes them to the listeners. After an error the
// former accounts stay in use.
func (s *accountSet) reload() {
	before := s.reader.files
	all, err := s.reader.read()
	if err == nil && reflect.DeepEqual(all, s.all()) {
		return
	}
	if err == nil {
		err = s.apply(all)
	}
	if err != nil {
		s.reader.files = append(s.reader.files, before...) // the correction may be in any of them
		s.reloads.WithLabelValues("refused").Inc()
		s.log.Error().Err(err).Msg("changed accounts refused: the former ones stay in use")
		return
	}
	s.reloads.WithLabelValues("applied").Inc()
	s.log.Info().Strs("accounts", names(all)).Msg("accounts changed")
}

func (s *accountSet) apply(all []accounts.Account) error {
	s.mu.Lock()
	listeners := slices.Clone(s.listeners)
	s.mu.Unlock()
	for _, apply := range listeners {
		if err := apply(all); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current = all
	return nil
}

// reportRemoved logs the waiting events of removed accounts.
func (a *App) reportRemoved(all []accounts.Account) error {
	for _, old := range a.accounts.names() {
		if slices.Contains(names(all), old) {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), provisionTimeout)
		waiting, _, err := a.store.Depth(ctx, old, time.Now())
		cancel()
		a.log.Warn().Str("account", old).AnErr("depth_error", err).Uint64("waiting", waiting).
			Msg("account removed: its waiting events stay in the queue")
	}
	return nil
}

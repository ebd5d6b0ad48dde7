package app

import (
	"context"
	"errors"
	"fmt"
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
	// reloaded notes how the last reload ended.
	reloaded func(error)
	// listeners take over changed accounts. The first one to refuse them ends the change,
	// and those that have accepted them get the former ones again.
	listeners []func([]accounts.Account) error
	// changed is called after a change with the former and the new accounts; nil for nothing.
	changed func(before, now []accounts.Account)

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
		reloaded: func(err error) { a.reloaded("accounts", err) },
		reloads: promauto.With(a.registry).NewCounterVec(prometheus.CounterOpts{
			Name: "roomlink_account_reloads_total",
			Help: "Changes of the accounts' files by outcome: applied, refused. Sum over processes.",
		}, []string{"outcome"}),
	}
	for _, outcome := range []string{"applied", "refused"} {
		a.accounts.reloads.WithLabelValues(outcome)
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
		s.reloaded(nil)
		return
	}
	if err == nil {
		err = s.apply(all)
	}
	s.reloaded(err)
	if err != nil {
		for _, path := range before { // the correction may be in any of them
			if !slices.Contains(s.reader.files, path) {
				s.reader.files = append(s.reader.files, path)
			}
		}
		s.reloads.WithLabelValues("refused").Inc()
		s.log.Error().Err(err).Msg("changed accounts refused: the former ones stay in use")
		return
	}
	s.reloads.WithLabelValues("applied").Inc()
	s.log.Info().Strs("accounts", names(all)).Msg("accounts changed")
}

func (s *accountSet) apply(all []accounts.Account) error {
	s.mu.Lock()
	listeners, before := slices.Clone(s.listeners), s.current
	s.mu.Unlock()
	for i, apply := range listeners {
		err := apply(all)
		if err == nil {
			continue
		}
		for _, undo := range slices.Backward(listeners[:i+1]) {
			if failed := undo(before); failed != nil {
				err = errors.Join(err, fmt.Errorf("applying the former accounts again: %w", failed))
			}
		}
		return err
	}
	s.mu.Lock()
	s.current = all
	s.mu.Unlock()
	if s.changed != nil {
		s.changed(before, all)
	}
	return nil
}

// reportRemoved logs the waiting events of removed accounts.
func (a *App) reportRemoved(before, now []accounts.Account) {
	left := map[string]bool{}
	for _, name := range names(now) {
		left[name] = true
	}
	for _, old := range names(before) {
		if left[old] {
			continue
		}
		ctx, cancel := context.WithTimeout(a.ctx, provisionTimeout)
		waiting, _, err := a.store.Depth(ctx, old, time.Now())
		cancel()
		a.log.Warn().Str("account", old).AnErr("depth_error", err).Uint64("waiting", waiting).
			Msg("account removed: its waiting events stay in the queue")
	}
}

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"

	"github.com/go-chi/chi/v5"

	"roomlink/internal/access"
	"roomlink/internal/broker"
	"roomlink/internal/openapi"
	"roomlink/internal/secret"
	"roomlink/internal/telemetry"
	"roomlink/internal/web"
)

// site is the public HTTP of a process: where it listens, who may use it, and
// what its pages are called.
type site struct {
	listener      net.Listener
	authenticator *access.Authenticator
	pages         access.Pages
}

// openSite checks the settings of the public HTTP and binds its address. It makes
// a link key in the data directory where none is configured; "" for a process
// without.
func (p *process) openSite(settings publicSettings, dataDir string) (site, error) {
	accounts := p.tenants.all()
	open, err := openMode(settings, accounts)
	if err != nil {
		return site{}, err
	}
	cert, err := p.openCertificate(settings)
	if err != nil {
		return site{}, err
	}
	listener, err := listen("ROOMLINK_LISTEN", settings.Listen)
	if err != nil {
		return site{}, err
	}
	p.closers = append(p.closers, func() { _ = listener.Close() }) // for a start that fails; serving closes it too
	address, scheme := listener.Addr().String(), "http"
	if cert != nil {
		listener, scheme = cert.secure(listener), "https"
	}
	base, err := publicURL(settings, scheme, address)
	if err != nil {
		return site{}, err
	}
	keys, err := p.openKeys(dataDir)
	if err != nil {
		return site{}, err
	}
	authenticator, err := access.NewAuthenticator(access.Config{
		Accounts: credentialsOf(accounts), Keys: keys, TokenLifetime: settings.TokenLifetime, Open: open,
		Registerer: p.registry,
	})
	if err != nil {
		return site{}, usageError{err}
	}
	// The first part, as it is the one that may refuse.
	p.tenants.parts = append(p.tenants.parts, func(accounts []account) error {
		return authenticator.SetAccounts(credentialsOf(accounts))
	})
	p.publicURL = base
	p.log.Info().Str("address", address).Str("url", base).Str("part", "public").Msg("listening")
	return site{listener, authenticator, access.Pages{Keys: keys, BaseURL: base, Lifetime: settings.PageLifetime}}, nil
}

// publicURL is the base of our own addresses. Off loopback we cannot know it.
func publicURL(settings publicSettings, scheme, address string) (string, error) {
	loopback := telemetry.IsLoopback(address)
	switch {
	case settings.InsecureNoAuth && !loopback:
		return "", usagef("--insecure-no-auth is for a listener on loopback: %s is none", address)
	case settings.PublicURL != "":
		return checkPublicURL(settings.PublicURL)
	case !loopback:
		return "", usagef("ROOMLINK_PUBLIC_URL is needed off loopback: it is where agents and customers reach %s", address)
	}
	return scheme + "://" + address, nil
}

// addSite serves the routes of some parts.
func (p *process) addSite(s site, routes ...func(chi.Router)) {
	router := web.NewRouter()
	router.Use(web.Logged(p.log.With().Str("component", "http").Logger()))
	for _, add := range append(routes, openapi.Routes) {
		add(router)
	}
	p.parts = append(p.parts, func(ctx context.Context) error {
		return web.Server{Handler: router, Logger: p.log}.Run(ctx, s.listener)
	})
}

// openKeys reads the link keys, or makes one in the data directory.
func (p *process) openKeys(dataDir string) (*access.Keys, error) {
	text, err := p.world.secretOf(linkKey)
	if err != nil {
		return nil, err
	}
	if text == "" && dataDir == "" {
		return nil, usagef("%s is needed: it signs our tokens, and is the same for every webhook and viewer", linkKey)
	}
	if text == "" {
		if text, err = ownKey(filepath.Join(dataDir, keyFile)); err != nil {
			return nil, err
		}
	}
	return linkKeys(text)
}

// ownKey reads our own link key, or makes one.
func ownKey(path string) (secret.String, error) {
	if err := broker.PrepareDirectory(filepath.Dir(path)); err != nil {
		return "", err
	}
	key, err := secret.ReadFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	key = secret.String(rand.Text() + rand.Text())
	if err := secret.WriteFile(path, key); err != nil {
		return "", fmt.Errorf("writing the link key: %w", err)
	}
	return key, nil
}

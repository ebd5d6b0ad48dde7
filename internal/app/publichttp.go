package app

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"net"
	"path/filepath"
	"slices"

	"github.com/go-chi/chi/v5"

	"roomlink/internal/access"
	"roomlink/internal/accounts"
	"roomlink/internal/broker"
	"roomlink/internal/openapi"
	"roomlink/internal/secret"
	"roomlink/internal/web"
)

type publicHTTP struct {
	listener      net.Listener
	maxConns      int
	authenticator *access.Authenticator
	pages         access.Pages
	proxies       web.Proxies
}

// openPublic checks the settings of the public HTTP and binds its address. Without a
// configured link key it makes one in the data directory, if there is a data directory.
func (a *App) openPublic(settings PublicSettings, dataDir string) (publicHTTP, error) {
	if settings.MaxConnections < 1 {
		return publicHTTP{}, Usagef("ROOMLINK_MAX_CONNECTIONS is %d: want 1 or more", settings.MaxConnections)
	}
	open, err := openAccount(settings, a.accounts.all())
	if err != nil {
		return publicHTTP{}, err
	}
	proxies, err := web.ParseProxies(settings.TrustedProxies)
	if err != nil {
		return publicHTTP{}, Usagef("ROOMLINK_TRUSTED_PROXIES: %w", err)
	}
	cert, err := a.certificate(publicPair(settings), nil)
	if err != nil {
		return publicHTTP{}, err
	}
	listener, err := net.Listen("tcp", settings.Listen)
	if err != nil {
		return publicHTTP{}, fmt.Errorf("ROOMLINK_LISTEN: %w", err)
	}
	a.closers = append(a.closers, func() { _ = listener.Close() }) // for a start that fails
	address, scheme := listener.Addr().String(), "http"
	if cert != nil {
		cert.NextProtos = []string{"h2", "http/1.1"}
		listener, scheme = tls.NewListener(listener, cert), "https"
	}
	if a.publicURL, err = publicURL(settings, scheme, address); err != nil {
		return publicHTTP{}, err
	}
	keys, err := a.readKeys(dataDir)
	if err != nil {
		return publicHTTP{}, err
	}
	authenticator, err := access.NewAuthenticator(access.Config{
		Accounts: a.accounts.all(), Keys: keys, TokenLifetime: settings.TokenLifetime, Open: open,
		Registerer: a.registry, Label: a.labels.Of,
	})
	if err != nil {
		return publicHTTP{}, UsageError{err}
	}
	a.accounts.onChange(authenticator.SetAccounts) // the first listener: it may refuse
	a.log.Info().Str("address", address).Str("url", a.publicURL).Str("part", "public").Msg("listening")
	maxConns := web.AllowedConnections(settings.MaxConnections)
	if maxConns < settings.MaxConnections {
		a.log.Info().Int("connections", maxConns).Int("wanted", settings.MaxConnections).
			Msg("fewer connections than ROOMLINK_MAX_CONNECTIONS: the limit of open files (ulimit -n) is low")
	}
	pages := access.Pages{Keys: keys, BaseURL: a.publicURL, Lifetime: settings.PageLifetime}
	return publicHTTP{listener, maxConns, authenticator, pages, proxies}, nil
}

// openAccount returns the account of requests without credentials; "" if requests need
// credentials.
func openAccount(settings PublicSettings, all []accounts.Account) (string, error) {
	empty := !slices.ContainsFunc(all, func(a accounts.Account) bool { return !a.Talkdesk.Empty() })
	switch {
	case !settings.InsecureNoAuth && empty:
		return "", Usagef("no credentials of Talkdesk are configured: set %s, %s with its user, or %s with its id",
			TalkdeskKey, TalkdeskBasic, TalkdeskSecret)
	case !settings.InsecureNoAuth:
		return "", nil
	case len(all) != 1:
		return "", Usagef("--insecure-no-auth works with one account: %d are configured", len(all))
	}
	return all[0].Name, nil
}

// publicURL returns the base of the program's own addresses. Off loopback the program
// cannot know it.
func publicURL(settings PublicSettings, scheme, address string) (string, error) {
	loopback := web.IsLoopback(address)
	switch {
	case settings.InsecureNoAuth && !loopback:
		return "", Usagef("--insecure-no-auth works on loopback only: %s is not loopback", address)
	case settings.PublicURL != "":
		return checkPublicURL(settings.PublicURL)
	case !loopback:
		return "", Usagef("ROOMLINK_PUBLIC_URL is required off loopback: set it to the URL at which agents and customers reach %s", address)
	}
	return scheme + "://" + address, nil
}

// routes are the routes of a part.
type routes struct {
	part string
	add  func(chi.Router)
}

func (a *App) servePublic(public publicHTTP, parts ...routes) error {
	router, requests := web.NewRouter(), web.NewRequests(a.registry)
	router.Use(public.proxies.Resolve, requests.Count, a.tracer.Calls, web.Logged(a.log.With().Str("component", "http").Logger()))
	for _, part := range append(parts, routes{"openapi", openapi.Routes}) {
		if err := requests.Add(part.part, part.add); err != nil {
			return err
		}
		part.add(router)
	}
	a.run(func(ctx context.Context) error {
		return web.Server{
			Handler: router, Logger: a.log, MaxConnections: public.maxConns, Metrics: a.connections,
		}.Run(ctx, public.listener)
	})
	return nil
}

// readKeys reads the link keys, or makes one in the data directory.
func (a *App) readKeys(dataDir string) (*access.Keys, error) {
	text, err := a.env.Secret(LinkKey)
	if err != nil {
		return nil, err
	}
	if text == "" && dataDir == "" {
		return nil, errLinkKey
	}
	if text == "" {
		if err := broker.PrepareDirectory(dataDir); err != nil {
			return nil, err
		}
		text, err = secret.EnsureFile(filepath.Join(dataDir, keyFile), newKey())
		if err != nil {
			return nil, err
		}
	}
	return parseKeys(text)
}

// errLinkKey means that there is no link key, and that this process may not make one.
var errLinkKey = Usagef("%s is missing: it signs roomlink's tokens; give every webhook and viewer the same one", LinkKey)

// newKey returns a new link key.
func newKey() secret.String { return secret.String(rand.Text() + rand.Text()) }

func parseKeys(text secret.String) (*access.Keys, error) {
	keys, err := access.ParseKeys(text)
	if err != nil {
		return nil, Usagef("%s: %w", LinkKey, err)
	}
	return keys, nil
}

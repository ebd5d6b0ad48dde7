package main

import (
	"crypto/tls"
	"net"
	"sync/atomic"

	"github.com/rs/zerolog"
)

// certificate is that of the public HTTP, read again when its files change.
type certificate struct {
	certFile, keyFile string
	log               zerolog.Logger
	current           atomic.Pointer[tls.Certificate]
}

// openCertificate reads the certificate, if one is configured.
func (p *process) openCertificate(settings publicSettings) (*certificate, error) {
	if settings.TLSCert == "" && settings.TLSKey == "" {
		return nil, nil
	}
	if settings.TLSCert == "" || settings.TLSKey == "" {
		return nil, usagef("ROOMLINK_TLS_CERT and ROOMLINK_TLS_KEY belong together: set both")
	}
	c := &certificate{certFile: settings.TLSCert, keyFile: settings.TLSKey, log: p.log}
	p.watch(func() []string { return []string{c.certFile, c.keyFile} }, c.reload)
	if err := c.read(); err != nil {
		return nil, usagef("ROOMLINK_TLS_CERT: %w", err)
	}
	return c, nil
}

func (c *certificate) read() error {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return err
	}
	c.current.Store(&pair)
	return nil
}

// reload takes over a changed certificate. Of one that is half written, or broken,
// the old one goes on.
func (c *certificate) reload() {
	if err := c.read(); err != nil {
		c.log.Error().Err(err).Msg("changed certificate refused: the old one goes on")
	}
}

// secure has a listener speak TLS, with the certificate of the moment.
func (c *certificate) secure(listener net.Listener) net.Listener {
	return tls.NewListener(listener, &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return c.current.Load(), nil
		},
	})
}

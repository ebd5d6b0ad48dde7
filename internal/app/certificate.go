package app

import (
	"crypto/tls"
	"net"
	"sync/atomic"

	"github.com/rs/zerolog"
)

// certificate is the certificate of the public HTTP. The program reads it again after a
// change of its files.
type certificate struct {
	certFile, keyFile string
	log               zerolog.Logger
	current           atomic.Pointer[tls.Certificate]
}

// openCertificate reads the certificate; nil if none is configured.
func (a *App) openCertificate(settings PublicSettings) (*certificate, error) {
	if settings.TLSCert == "" && settings.TLSKey == "" {
		return nil, nil
	}
	if settings.TLSCert == "" || settings.TLSKey == "" {
		return nil, Usagef("ROOMLINK_TLS_CERT and ROOMLINK_TLS_KEY belong together: set both")
	}
	c := &certificate{certFile: settings.TLSCert, keyFile: settings.TLSKey, log: a.log}
	a.files.Add(func() []string { return []string{c.certFile, c.keyFile} }, c.reload)
	if err := c.read(); err != nil {
		return nil, Usagef("ROOMLINK_TLS_CERT: %w", err)
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

// reload replaces the certificate. If the new one is broken, or half written, the
// former one stays in use.
func (c *certificate) reload() {
	if err := c.read(); err != nil {
		c.log.Error().Err(err).Msg("changed certificate refused: the former one stays in use")
	}
}

// secure returns a TLS listener that uses the current certificate.
func (c *certificate) secure(listener net.Listener) net.Listener {
	return tls.NewListener(listener, &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return c.current.Load(), nil
		},
	})
}

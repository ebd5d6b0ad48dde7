package app

import (
	"crypto/tls"
	"sync/atomic"
)

// certificate returns the TLS configuration of the public HTTP; nil if no certificate is
// configured. The program reads the certificate again after a change of its files.
func (a *App) certificate(settings PublicSettings) (*tls.Config, error) {
	certFile, keyFile := settings.TLSCert, settings.TLSKey
	if certFile == "" && keyFile == "" {
		return nil, nil
	}
	if certFile == "" || keyFile == "" {
		return nil, Usagef("ROOMLINK_TLS_CERT and ROOMLINK_TLS_KEY belong together: set both")
	}
	var current atomic.Pointer[tls.Certificate]
	read := func() error {
		pair, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err == nil {
			current.Store(&pair)
		}
		return err
	}
	a.files.Add(func() []string { return []string{certFile, keyFile} }, func() {
		if err := read(); err != nil { // the new files are broken or half written
			a.log.Error().Err(err).Msg("changed certificate refused: the former one stays in use")
		}
	})
	if err := read(); err != nil {
		return nil, Usagef("ROOMLINK_TLS_CERT: %w", err)
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return current.Load(), nil },
	}, nil
}

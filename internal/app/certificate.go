package app

import (
	"crypto/tls"
	"sync/atomic"
)

// keyPair names the files of a certificate and its key, and the variables that name them.
type keyPair struct{ certFile, keyFile, certName, keyName string }

// certificate returns a TLS configuration with a certificate; nil if none is configured. The
// program reads the certificate again after a change of its files. It calls changed after each
// change; nil for nothing.
func (a *App) certificate(pair keyPair, changed func()) (*tls.Config, error) {
	if pair.certFile == "" && pair.keyFile == "" {
		return nil, nil
	}
	if pair.certFile == "" || pair.keyFile == "" {
		return nil, Usagef("%s and %s belong together: set both", pair.certName, pair.keyName)
	}
	var current atomic.Pointer[tls.Certificate]
	read := func() error {
		loaded, err := tls.LoadX509KeyPair(pair.certFile, pair.keyFile)
		if err == nil {
			current.Store(&loaded)
		}
		return err
	}
	a.files.Add(func() []string { return []string{pair.certFile, pair.keyFile} }, func() {
		if err := read(); err != nil { // the new files are broken or half written
			a.log.Error().Err(err).Msg("changed certificate refused: the former one stays in use")
			return
		}
		if changed != nil {
			changed()
		}
	})
	if err := read(); err != nil {
		return nil, Usagef("%s: %w", pair.certName, err)
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return current.Load(), nil },
	}, nil
}

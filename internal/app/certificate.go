package app

import (
	"crypto/tls"
	"sync/atomic"
)

// keyPair names the files of a certificate and its key, and the variables that name them.
type keyPair struct{ certFile, keyFile, certName, keyName string }

// publicPair returns the key pair of the public HTTP.
func publicPair(settings PublicSettings) keyPair {
	return keyPair{settings.TLSCert, settings.TLSKey, "ROOMLINK_TLS_CERT", "ROOMLINK_TLS_KEY"}
}

// certificate returns a TLS configuration with a certificate; nil if none is configured. The
// program reads the certificate again after a change of its files. It calls changed after each
// change; nil for nothing.
func (a *App) certificate(pair keyPair, changed func()) (*tls.Config, error) {
	if pair.certFile == "" && pair.keyFile == "" {
		return nil, nil
	}
	var current atomic.Pointer[tls.Certificate]
	read := func() error {
		loaded, err := pair.read()
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
		return nil, err
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return current.Load(), nil },
	}, nil
}

// read reads the certificate with its key. Its errors are [UsageError]s.
func (p keyPair) read() (tls.Certificate, error) {
	if p.certFile == "" || p.keyFile == "" {
		return tls.Certificate{}, Usagef("%s and %s belong together: set both", p.certName, p.keyName)
	}
	pair, err := tls.LoadX509KeyPair(p.certFile, p.keyFile)
	if err != nil {
		return pair, Usagef("%s: %w", p.certName, err)
	}
	return pair, nil
}

package app

import (
	"crypto/tls"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// The certificates, as the metrics name them.
const (
	publicCertificate = "public"
	brokerCertificate = "broker"
)

// keyPair names the files of a certificate and its key, the variables that name them, and the
// certificate.
type keyPair struct{ certFile, keyFile, certName, keyName, of string }

// publicPair returns the key pair of the public HTTP.
func publicPair(settings PublicSettings) keyPair {
	return keyPair{settings.TLSCert, settings.TLSKey, "ROOMLINK_TLS_CERT", "ROOMLINK_TLS_KEY", publicCertificate}
}

// measureFiles registers the metrics of the files that the program reads again.
func (a *App) measureFiles() {
	auto := promauto.With(a.registry)
	a.reloads = auto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "roomlink_last_reload_success",
		Help: "1 if the changed files of the accounts or of a certificate were taken over the last time, and before a change; " +
			"0 if they were refused. Take the minimum over processes.",
	}, []string{"files"})
	a.reloaded("accounts", nil)
	a.reloaded("certificate", nil)
	a.expiry = auto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "roomlink_certificate_expiry_timestamp_seconds",
		Help: "Unix time at which a certificate ends: that of the public HTTP, and that of the embedded broker; 0 without one. " +
			"Take the minimum above 0 over processes.",
	}, []string{"certificate"})
	a.expiry.WithLabelValues(publicCertificate)
	a.expiry.WithLabelValues(brokerCertificate)
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
			a.expiry.WithLabelValues(pair.of).Set(float64(loaded.Leaf.NotAfter.Unix()))
		}
		return err
	}
	a.files.Add(func() []string { return []string{pair.certFile, pair.keyFile} }, func() {
		err := read()
		a.reloaded("certificate", err)
		if err != nil { // the new files are broken or half written
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

package broker_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"

	"roomlink/internal/broker"
	"roomlink/internal/roomlinktest"
)

// selfSigned returns a certificate that is its own authority, for servers and clients, and the
// PEM of the certificate and of its key.
func selfSigned(t *testing.T) (pair tls.Certificate, certPEM, keyPEM []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "roomlink"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	keyPEM = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if pair, err = tls.X509KeyPair(certPEM, keyPEM); err != nil {
		t.Fatal(err)
	}
	return pair, certPEM, keyPEM
}

// The server and the parts get new certificates from another authority.
func TestCertificatesRotate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	caFile, certFile, keyFile := filepath.Join(dir, "ca"), filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	// renew replaces the files of the client, and returns the configuration of the server.
	renew := func() (serverTLS *tls.Config, replace func()) {
		serverPair, serverCA, _ := selfSigned(t)
		_, clientCert, clientKey := selfSigned(t)
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(clientCert)
		serverTLS = &tls.Config{
			MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{serverPair},
			ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
		}
		return serverTLS, func() {
			write(t, caFile, serverCA)
			write(t, certFile, clientCert)
			write(t, keyFile, clientKey)
		}
	}
	config, replace := renew()
	replace()
	srv := startExternal(t, func(o *server.Options) { o.TLSConfig, o.TLSVerify, o.TLSTimeout = config, true, 5 })
	b, js := dialExternal(t, broker.RemoteConfig{
		URL: srv.ClientURL(), Login: broker.Login{User: "roomlink", Password: oldPassword}, CAFile: caFile, CertFile: certFile, KeyFile: keyFile,
		Logger: zerolog.Nop(),
	})

	srv.Shutdown()
	srv.WaitForShutdown()
	srv.options.TLSConfig, replace = renew()
	srv.start(t)
	awaitHealth(t, b, "the loss of the connection", func(err error) bool { return err != nil })
	replace()
	awaitHealth(t, b, "a connection with the new certificates", healthy)
	if _, err := js.AccountInfo(roomlinktest.Context(t)); err != nil {
		t.Errorf("a request with the new certificates: got error %v, want none", err)
	}
}

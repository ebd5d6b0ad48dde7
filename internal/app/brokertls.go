package app

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"roomlink/internal/broker"
	"roomlink/internal/secret"
	"roomlink/internal/web"
)

// brokerCertFile is the file of the data directory with the broker's certificate, for the
// operator's commands. It exists if the broker has TLS.
const brokerCertFile = "broker.crt"

// brokerTLS returns the TLS configuration of the embedded broker; nil for plain text. It
// refuses plain text off loopback.
func (a *App) brokerTLS(s *EmbeddedSettings) (*tls.Config, error) {
	pair := keyPair{s.BrokerTLSCert, s.BrokerTLSKey, "ROOMLINK_BROKER_TLS_CERT", "ROOMLINK_BROKER_TLS_KEY", brokerCertificate}
	var config *tls.Config
	var err error
	config, err = a.certificate(pair, func() {
		if err := keepBrokerCertificate(s.DataDir, config); err != nil {
			a.log.Error().Err(err).Msg("certificate of the broker not kept: the operator's commands will refuse the broker")
		}
	})
	listens := s.BrokerListen != "" && s.BrokerListen != broker.ListenOff
	if err == nil && config == nil && listens && !s.InsecurePlainBroker && !web.IsLoopback(s.BrokerListen) {
		return nil, Usagef("ROOMLINK_BROKER_LISTEN %s is not loopback: set ROOMLINK_BROKER_TLS_CERT and "+
			"ROOMLINK_BROKER_TLS_KEY, or give --insecure-plain-broker to send passwords and tickets in plain text", s.BrokerListen)
	}
	return config, err
}

// keepBrokerCertificate writes the broker's certificate to the data directory. For plain text
// it removes the former one. Call it while the data directory is locked.
func keepBrokerCertificate(dataDir string, config *tls.Config) error {
	kept := filepath.Join(dataDir, brokerCertFile)
	if config == nil {
		if err := os.Remove(kept); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	cert, err := config.GetCertificate(nil)
	if err != nil {
		return err
	}
	leaf := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})
	return secret.WriteFile(kept, secret.String(leaf))
}

// errOtherCertificate refuses a server that is not the one of the data directory.
var errOtherCertificate = errors.New("the broker has another certificate than the one in the data directory " +
	"(ROOMLINK_DATA_DIR): is another program on its address?")

// pinnedBroker returns the TLS configuration with which the operator's commands reach the
// embedded broker; nil if the broker is plain. They know its certificate from the data
// directory, so they need neither its name nor its authority.
func pinnedBroker(dataDir string) (*tls.Config, error) {
	kept, err := readKept(dataDir, brokerCertFile)
	if err != nil || kept == "" {
		return nil, err
	}
	block, _ := pem.Decode([]byte(kept.Reveal()))
	if block == nil {
		return nil, errors.New("broker.crt in the data directory is no certificate (PEM): start \"roomlink serve\" again")
	}
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection compares the whole certificate
		VerifyConnection: func(state tls.ConnectionState) error {
			if !bytes.Equal(state.PeerCertificates[0].Raw, block.Bytes) {
				return errOtherCertificate
			}
			return nil
		},
	}, nil
}

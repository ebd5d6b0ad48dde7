package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"roomlink/internal/app"
	"roomlink/internal/programtest"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/simulator"
)

// accountsYAML configures accounts that are called by an API key of their own, in
// a file named as the account.
func accountsYAML(a programtest.Auvious, names ...string) string {
	var text strings.Builder
	text.WriteString("accounts:\n")
	for _, name := range names {
		fmt.Fprintf(&text, "  - name: %s\n    talkdesk: {apiKeys: [{name: key, file: %s}]}\n"+
			"    auvious: {url: %q, clientId: auvious-client, clientSecretFile: auvious, applicationId: %s}\n",
			name, name, a.URL, name)
	}
	return text.String()
}

// startAccounts runs a "serve" with an accounts file in a directory.
func startAccounts(t *testing.T, a programtest.Auvious, names ...string) (p *programtest.Program, dir string) {
	t.Helper()
	env, dir := accountsEnv(t, a, names...)
	return start(t, env, "serve"), dir
}

// accountsEnv returns an environment with an accounts file in a directory.
func accountsEnv(t *testing.T, a programtest.Auvious, names ...string) (env map[string]string, dir string) {
	t.Helper()
	dir = t.TempDir()
	files := map[string]string{"accounts.yaml": accountsYAML(a, names...), "auvious": programtest.AuviousSecret}
	for _, name := range []string{"one", "two", "three"} {
		files[name] = "key-of-" + name
	}
	writeFiles(t, dir, files)
	env = programtest.ServeEnv(t, a.URL)
	for _, name := range []string{app.AuviousSecret, app.TalkdeskKey, app.TalkdeskBasic, app.TalkdeskSecret} {
		delete(env, name)
	}
	delete(env, "ROOMLINK_TALKDESK_BASIC_USER")
	delete(env, "ROOMLINK_TALKDESK_CLIENT_ID")
	env["ROOMLINK_ACCOUNTS"] = filepath.Join(dir, "accounts.yaml")
	return env, dir
}

// askAs calls an endpoint with the key of an account.
func askAs(t *testing.T, key, method, url, body string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-API-Key", key)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Errorf("calling: %v", err)
		return 0
	}
	_ = response.Body.Close()
	return response.StatusCode
}

// TestAccountsComeAndGo changes the accounts under traffic that must not notice.
func TestAccountsComeAndGo(t *testing.T) {
	t.Parallel()
	roomlinktest.SkipIfShort(t, "it waits for files to be read again")
	a := programtest.StartAuvious(t, simulator.Config{})
	p, dir := startAccounts(t, a, "one", "two")
	base := p.Address("public")
	stop := make(chan struct{})
	var posted, refused atomic.Int64
	var traffic sync.WaitGroup
	for sender := range 4 {
		traffic.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				id := fmt.Sprintf("steady-%d-%d", sender, n)
				if askAs(t, "key-of-one", http.MethodPost, base+"/talkdesk/events", programtest.StartEvent(id)) != http.StatusAccepted {
					refused.Add(1)
				}
				posted.Add(1)
			}
		})
	}
	change := func(files map[string]string, message string) map[string]any {
		writeFiles(t, dir, files)
		return p.NextLine(map[string]string{"message": message})
	}

	if got := askAs(t, "key-of-three", http.MethodPost, base+"/talkdesk/events", programtest.StartEvent("x")); got != http.StatusUnauthorized {
		t.Errorf("an account that is not there yet: got %d, want 401", got)
	}
	change(map[string]string{"accounts.yaml": accountsYAML(a, "one", "two", "three")}, "accounts changed")
	if got := askAs(t, "key-of-three", http.MethodPost, base+"/talkdesk/events", programtest.StartEvent("three-1")); got != http.StatusAccepted {
		t.Errorf("an account that came: got %d, want 202", got)
	}
	if got := askAs(t, "key-of-three", http.MethodGet, base+"/links/three-1?wait=20s", ""); got != http.StatusOK || a.Rooms("three-1") != 1 {
		t.Errorf("its links: got %d and %d rooms, want 200 and 1", got, a.Rooms("three-1"))
	}
	change(map[string]string{"three": "another-key-of-three"}, "accounts changed")
	if got := askAs(t, "key-of-three", http.MethodPost, base+"/talkdesk/events", programtest.StartEvent("x")); got != http.StatusUnauthorized {
		t.Errorf("a key that was changed: got %d, want 401", got)
	}
	line := change(map[string]string{"accounts.yaml": accountsYAML(a, "one") + "    colour: red\n"}, "changed accounts refused: the former ones stay in use")
	if got := fmt.Sprint(line["error"]); !strings.Contains(got, "line 5: field colour not found") {
		t.Errorf("a broken file: got %q; want its line", got)
	}
	if got := askAs(t, "another-key-of-three", http.MethodPost, base+"/talkdesk/events", programtest.StartEvent("three-2")); got != http.StatusAccepted {
		t.Errorf("after a broken file: got %d, want 202", got)
	}
	change(map[string]string{"accounts.yaml": accountsYAML(a, "one", "three")}, "accounts changed")
	if got := askAs(t, "key-of-two", http.MethodPost, base+"/talkdesk/events", programtest.StartEvent("x")); got != http.StatusUnauthorized {
		t.Errorf("an account that is gone: got %d, want 401", got)
	}
	p.Line(map[string]string{"message": "account removed: its waiting events stay in the queue", "account": "two"})

	close(stop)
	traffic.Wait()
	if refused.Load() > 0 || posted.Load() == 0 {
		t.Errorf("the account that stayed: got %d of %d refused, want none", refused.Load(), posted.Load())
	}
}

// TestRotatedAuviousSecret changes auvious' secret first and the file later:
// events wait, and get their links once it is right.
func TestRotatedAuviousSecret(t *testing.T) {
	t.Parallel()
	a := programtest.StartAuvious(t, simulator.Config{})
	p, dir := startAccounts(t, a, "one")
	base := p.Address("public")
	a.SetCredentials("auvious-client", "rotated-auvious-secret")
	if got := askAs(t, "key-of-one", http.MethodPost, base+"/talkdesk/events", programtest.StartEvent("rotated-1")); got != http.StatusAccepted {
		t.Fatalf("posting: got %d, want 202", got)
	}
	p.Line(map[string]string{"message": "breaker changed", "breaker": "open"})
	writeFiles(t, dir, map[string]string{"auvious": "rotated-auvious-secret"})
	p.Line(map[string]string{"message": "accounts changed"})
	p.Line(map[string]string{"message": "links stored", "interaction_id": "rotated-1"})
	if got := a.Rooms("rotated-1"); got != 1 {
		t.Errorf("rooms: got %d, want 1", got)
	}
	if strings.Contains(p.Log(), "rotated-auvious-secret") {
		t.Error("the secret is in the log")
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeFiles(t, dir, selfSigned(t, "first.example", time.Now().Add(time.Hour)))
	env := programtest.ServeEnv(t, programtest.StartAuvious(t, simulator.Config{}).URL)
	env["ROOMLINK_TLS_CERT"] = filepath.Join(dir, "cert.pem")
	env["ROOMLINK_TLS_KEY"] = filepath.Join(dir, "key.pem")
	p := start(t, env, "serve")
	address := strings.TrimPrefix(p.Address("public"), "http://")
	p.Line(map[string]string{"message": "started"})
	if got := certificateName(t, address); got != "first.example" {
		t.Errorf("certificate: got %q, want %q", got, "first.example")
	}
	writeFiles(t, dir, map[string]string{"cert.pem": "broken"})
	p.Line(map[string]string{"message": "changed certificate refused: the former one stays in use"})
	if got := certificateName(t, address); got != "first.example" {
		t.Errorf("certificate after a broken one: got %q, want %q", got, "first.example")
	}
	writeFiles(t, dir, selfSigned(t, "second.example", time.Now().Add(time.Hour)))
	deadline := time.Now().Add(roomlinktest.Timeout)
	for certificateName(t, address) != "second.example" {
		if time.Now().After(deadline) {
			t.Fatal("the changed certificate is not taken over")
		}
	}
}

// certificateName is the name in the certificate of a server.
func certificateName(t *testing.T, address string) string {
	t.Helper()
	dialer := &tls.Dialer{NetDialer: &net.Dialer{Timeout: roomlinktest.Timeout}, Config: &tls.Config{
		InsecureSkipVerify: true,
	}}
	conn, err := dialer.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatalf("connecting: %v", err)
	}
	defer conn.Close()
	secured, _ := conn.(*tls.Conn)
	return secured.ConnectionState().PeerCertificates[0].DNSNames[0]
}

func selfSigned(t *testing.T, name string, end time.Time) map[string]string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name},
		NotBefore: end.Add(-2 * time.Hour), NotAfter: end,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		"cert.pem": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})),
		"key.pem":  string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})),
	}
}

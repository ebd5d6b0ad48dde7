package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"roomlink/internal/simulator"
)

// asProgram has the test binary be the program itself, so that the tests start,
// stop and kill what production runs.
const asProgram = "ROOMLINK_TEST_AS_PROGRAM"

// within bounds every wait of these tests. It is long, as machines are slow, and
// never waited for in full unless something is broken.
const within = 60 * time.Second

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// The credentials of the tests. Each is to be found nowhere but where it belongs.
const (
	testAPIKey        = "api-key-7f3a91c2d4"
	testBasicPassword = "basic-password-5d8e02"
	testClientSecret  = "talkdesk-client-secret-91ab"
	testAuviousSecret = "auvious-client-secret-44cd"
	testLinkKey       = "link-key-0123456789abcdef0123456789abcdef"
)

// program is the program as a process of its own.
type program struct {
	t    *testing.T
	cmd  *exec.Cmd
	out  *output
	done chan struct{}

	mu      sync.Mutex
	lines   []string
	changed chan struct{}
	// seen is how many lines next has passed.
	seen int
}

// output keeps what a process prints while it runs.
type output struct {
	mu      sync.Mutex
	text    strings.Builder
	changed chan struct{}
}

func newOutput() *output { return &output{changed: make(chan struct{})} }

// Write implements [io.Writer].
func (o *output) Write(data []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.changed)
	o.changed = make(chan struct{})
	return o.text.Write(data)
}

// String is all that was printed.
func (o *output) String() string {
	text, _ := o.read()
	return text
}

func (o *output) read() (string, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String(), o.changed
}

// awaitOutput waits until the program has printed a text.
func (p *program) awaitOutput(text string) {
	p.t.Helper()
	deadline := time.After(within)
	for {
		printed, changed := p.out.read()
		if strings.Contains(printed, text) {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			p.t.Fatalf("%q is not printed after %v", text, within)
		}
	}
}

// start runs the program with arguments and an environment of its own.
func start(t *testing.T, env map[string]string, args ...string) *program {
	t.Helper()
	p := &program{t: t, out: newOutput(), done: make(chan struct{}), changed: make(chan struct{})}
	p.cmd = exec.Command(os.Args[0], args...)
	p.cmd.Env = []string{asProgram + "=1", "HOME=" + t.TempDir(), "TMPDIR=" + t.TempDir()}
	for name, value := range env {
		p.cmd.Env = append(p.cmd.Env, name+"="+value)
	}
	p.cmd.Stdout = p.out
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatalf("preparing the program: %v", err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("starting the program: %v", err)
	}
	go p.read(stderr)
	t.Cleanup(p.kill)
	return p
}

// read keeps the log, and ends with the process.
func (p *program) read(stderr io.Reader) {
	defer close(p.done)
	scanner := bufio.NewScanner(stderr)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		p.mu.Lock()
		p.lines = append(p.lines, scanner.Text())
		close(p.changed)
		p.changed = make(chan struct{})
		p.mu.Unlock()
	}
	_ = p.cmd.Wait() // how it ended is read from its state
}

// log is all that the program has written to standard error.
func (p *program) log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "\n")
}

// line waits for a log line with the given fields and returns it.
func (p *program) line(fields map[string]string) map[string]any {
	p.t.Helper()
	line, _ := p.lineFrom(fields, 0)
	return line
}

// lineFrom looks only at lines from a number on, and also returns the number of
// the one behind.
func (p *program) lineFrom(fields map[string]string, from int) (map[string]any, int) {
	p.t.Helper()
	deadline := time.After(within)
	for seen := from; ; {
		p.mu.Lock()
		fresh, changed := p.lines[seen:], p.changed
		p.mu.Unlock()
		for _, text := range fresh {
			seen++
			var line map[string]any
			if json.Unmarshal([]byte(text), &line) == nil && has(line, fields) {
				return line, seen
			}
		}
		select {
		case <-changed:
		case <-p.done:
			p.t.Fatalf("the program ended without a line %v:\n%s", fields, p.log())
		case <-deadline:
			p.t.Fatalf("no line %v after %v:\n%s", fields, within, p.log())
		}
	}
}

func has(line map[string]any, fields map[string]string) bool {
	for key, want := range fields {
		if line[key] != want {
			return false
		}
	}
	return true
}

// address waits until a part listens, and returns the base of its address.
func (p *program) address(part string) string {
	p.t.Helper()
	line := p.line(map[string]string{"message": "listening", "part": part})
	return fmt.Sprintf("http://%v", line["address"])
}

// kill ends the process as a crash does.
func (p *program) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// stop ends the process as an operator does, and returns its exit code.
func (p *program) stop() int {
	p.t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	return p.wait()
}

// wait waits for the process and returns its exit code.
func (p *program) wait() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(within):
		p.t.Fatalf("the program has not ended after %v:\n%s", within, p.log())
	}
	return p.cmd.ProcessState.ExitCode()
}

// command runs the program to its end and returns what it printed.
func command(t *testing.T, env map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	p := start(t, env, args...)
	code = p.wait()
	return code, p.out.String(), p.log()
}

// simulated is an auvious on a port of its own.
type simulated struct {
	*simulator.Simulator
	url string
}

func startAuvious(t *testing.T, config simulator.Config) simulated {
	t.Helper()
	config.ClientID, config.ClientSecret = "auvious-client", testAuviousSecret
	auvious, err := simulator.New(config)
	if err != nil {
		t.Fatalf("simulating auvious: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	server := httptest.NewUnstartedServer(auvious)
	server.Config.BaseContext = func(net.Listener) context.Context { return ctx }
	server.Start()
	t.Cleanup(func() {
		cancel() // answers that hang
		server.Close()
	})
	return simulated{auvious, server.URL}
}

// serveEnv is the environment of a "serve" on free ports.
func serveEnv(t *testing.T, a simulated) map[string]string {
	t.Helper()
	return map[string]string{
		"ROOMLINK_AUVIOUS_URL":             a.url,
		"ROOMLINK_AUVIOUS_CLIENT_ID":       "auvious-client",
		"ROOMLINK_AUVIOUS_CLIENT_SECRET":   testAuviousSecret,
		"ROOMLINK_AUVIOUS_APPLICATION_ID":  "app-1",
		"ROOMLINK_AUVIOUS_ORGANIZATION_ID": "org-1",
		"ROOMLINK_TALKDESK_API_KEY":        testAPIKey,
		"ROOMLINK_TALKDESK_BASIC_USER":     "talkdesk",
		"ROOMLINK_TALKDESK_BASIC_PASSWORD": testBasicPassword,
		"ROOMLINK_TALKDESK_CLIENT_ID":      "studio",
		"ROOMLINK_TALKDESK_CLIENT_SECRET":  testClientSecret,
		"ROOMLINK_LINK_KEY":                testLinkKey,
		"ROOMLINK_LISTEN":                  "127.0.0.1:0",
		"ROOMLINK_OPS_LISTEN":              "127.0.0.1:0",
		"ROOMLINK_BROKER_LISTEN":           "127.0.0.1:0",
		"ROOMLINK_DATA_DIR":                t.TempDir(),
		"ROOMLINK_LOG_LEVEL":               "trace",
	}
}

// reply is what an endpoint of ours answers: a status and a flat object.
type reply struct {
	status int
	fields map[string]string
}

// ask calls an endpoint with the API key. A transport error is a reply of status
// 0, since tests kill what they ask.
func ask(t *testing.T, method, url, body string) reply {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatalf("making a request: %v", err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-API-Key", testAPIKey)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return reply{}
	}
	defer response.Body.Close()
	r := reply{status: response.StatusCode}
	if err := json.NewDecoder(response.Body).Decode(&r.fields); err != nil && !errors.Is(err, io.EOF) {
		return reply{}
	}
	return r
}

// startEvent is the body of a call that starts.
func startEvent(id string) string {
	return fmt.Sprintf(`{"event":"inbound_call_starts","interaction_id":%q,"contact_id":"contact-%s"}`, id, id)
}

// ready waits for the links of a conversation.
func ready(t *testing.T, base, id string) map[string]string {
	t.Helper()
	deadline := time.Now().Add(within)
	var last reply
	for time.Now().Before(deadline) {
		last = ask(t, http.MethodGet, base+"/links/"+id+"?wait=5s", "")
		if last.status == http.StatusOK && last.fields["status"] == "ready" {
			return last.fields
		}
		if last.status != http.StatusOK {
			break
		}
	}
	t.Fatalf("links of %q: got status %d, %q; want ready", id, last.status, last.fields["status"])
	return nil
}

package subscribertest_test

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"roomlink/internal/programtest"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/secret"
	"roomlink/internal/simulator"
)

func TestMain(m *testing.M) { os.Exit(programtest.Main(m)) }

const (
	document = "../../docs/subscribe.md"
	name     = "crm"
)

// accountNames are the accounts of a site. Each has a subscriber named crm.
var accountNames = []string{"acme", "globex"}

// site is a "roomlink serve" with two accounts, which tests kill and start again.
type site struct {
	tb      testing.TB
	env     map[string]string
	program *programtest.Program
	base    string
	auvious programtest.Auvious
}

// newSite starts a site. Each account has the subscriber crm and those with the given names.
func newSite(tb testing.TB, more ...string) *site {
	tb.Helper()
	auvious := programtest.StartAuvious(tb, simulator.Config{})
	dir := tb.TempDir()
	files := map[string]string{"auvious": programtest.AuviousSecret}
	var yaml strings.Builder
	yaml.WriteString("accounts:\n")
	for _, account := range accountNames {
		fmt.Fprintf(&yaml, "  - name: %s\n    talkdesk: {apiKeys: [{name: key, file: %s}]}\n"+
			"    auvious: {url: %q, clientId: %s, clientSecretFile: auvious, applicationId: app}\n    subscribers:\n",
			account, account, auvious.URL, programtest.AuviousClient)
		for _, subscriber := range append([]string{name}, more...) {
			fmt.Fprintf(&yaml, "      - {name: %s}\n", subscriber)
		}
		files[account] = apiKey(account)
	}
	files["accounts.yaml"] = yaml.String()
	for file, text := range files {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	env := programtest.ServeEnv(tb, auvious.URL)
	maps.DeleteFunc(env, func(name, _ string) bool {
		return strings.Contains(name, "_TALKDESK_") || strings.HasSuffix(name, "_CLIENT_SECRET")
	})
	env["ROOMLINK_ACCOUNTS"] = filepath.Join(dir, "accounts.yaml")
	env["ROOMLINK_LISTEN"], env["ROOMLINK_BROKER_LISTEN"] = programtest.FreeAddress(tb), programtest.FreeAddress(tb)
	env["ROOMLINK_LOG_LEVEL"] = "info"
	s := &site{tb: tb, env: env, base: "http://" + env["ROOMLINK_LISTEN"], auvious: auvious}
	s.start()
	for _, account := range accountNames {
		s.awaitDurable(account)
	}
	return s
}

func apiKey(account string) string { return "invented-key-of-" + account }

// start starts the program, and returns when it takes events.
func (s *site) start() {
	s.tb.Helper()
	s.program = programtest.Start(s.tb, programtest.Command{Args: []string{"serve"}, Env: s.env})
	s.program.Address("public")
}

// awaitDurable waits until the place of an account's crm is there.
func (s *site) awaitDurable(account string) {
	s.tb.Helper()
	ctx := roomlinktest.Context(s.tb)
	for {
		_, listed, _ := programtest.Run(s.tb, programtest.Command{Args: []string{"subscribers"}, Env: s.operatorEnv()})
		if regexp.MustCompile(account + ` +` + name).MatchString(listed) {
			return
		}
		if ctx.Err() != nil {
			s.tb.Fatalf("places of subscribers: got %q, want one of %q", listed, account)
		}
	}
}

func (s *site) operatorEnv() map[string]string {
	return map[string]string{
		"ROOMLINK_DATA_DIR": s.env["ROOMLINK_DATA_DIR"], "ROOMLINK_BROKER_LISTEN": s.env["ROOMLINK_BROKER_LISTEN"],
	}
}

// post posts the start of a conversation, and returns the status; 0 if the server is away.
func (s *site) post(account, id string) int {
	return s.call(account, http.MethodPost, "/talkdesk/events", programtest.StartEvent(id))
}

// renew asks for new links of a conversation, and returns the status; 0 if the server is away.
func (s *site) renew(account, id string) int {
	return s.call(account, http.MethodPost, "/links/"+id+"/renew", "")
}

func (s *site) call(account, method, path, body string) int {
	request, err := http.NewRequestWithContext(s.tb.Context(), method, s.base+path, strings.NewReader(body))
	if err != nil {
		s.tb.Errorf("making a request: %v", err)
		return 0
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-API-Key", apiKey(account))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode
}

// client is a program of the document. Several processes may run it, one after the other.
type client struct {
	tb      testing.TB
	command programtest.Command
	process *programtest.Program
	// ended is the output of the processes that have ended.
	ended string
	// exempted are the lines that may come again.
	exempted map[string]bool
	kind     string
	// began is the number of lines before the process.
	began int
}

// kinds are the programs of the document by the headings above them.
var kinds = []string{"Go", "Go with package messages", "Node", "The nats CLI"}

// newClient prepares a program for the user of a subscriber. change may change its text.
func newClient(tb testing.TB, s *site, kind, user string, change func(string) string) *client {
	tb.Helper()
	password, err := secret.ReadFile(filepath.Join(s.env["ROOMLINK_DATA_DIR"], "subscribers", user+".password"))
	if err != nil {
		tb.Fatalf("reading the password of %q: %v", user, err)
	}
	text := change(programOf(tb, kind))
	dir := tb.TempDir()
	env := map[string]string{
		"NATS_URL": "nats://" + s.env["ROOMLINK_BROKER_LISTEN"], "NATS_USER": user, "NATS_PASSWORD": password.Reveal(),
	}
	write := func(file string) string {
		path := filepath.Join(dir, file)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			tb.Fatal(err)
		}
		return path
	}
	command := programtest.Command{Env: env}
	switch kind {
	case "Node":
		modules := tool(tb, "ROOMLINK_NATS_JS")
		command.Path, command.Args = lookPath(tb, "node"), []string{write("subscriber.mjs")}
		if err := os.Symlink(filepath.Join(modules, "node_modules"), filepath.Join(dir, "node_modules")); err != nil {
			tb.Fatal(err)
		}
	case "The nats CLI":
		lookPath(tb, "jq")
		if err := os.Symlink(tool(tb, "ROOMLINK_NATS_CLI"), filepath.Join(dir, "nats")); err != nil {
			tb.Fatal(err)
		}
		env["PATH"] = dir + ":/usr/local/bin:/usr/bin:/bin"
		write("subscriber.sh")
		command.Path, command.Args = "/bin/bash", []string{"-c", "cd '" + dir + "' && exec bash subscriber.sh"}
	default:
		command.Path = build(tb, write("main.go"))
	}
	return &client{tb: tb, command: command, exempted: map[string]bool{}, kind: kind}
}

// asItIs leaves a program unchanged.
func asItIs(text string) string { return text }

// build builds a program of one file.
func build(tb testing.TB, file string) string {
	tb.Helper()
	path := strings.TrimSuffix(file, ".go")
	printed, err := exec.CommandContext(tb.Context(), "go", "build", "-o", path, file).CombinedOutput()
	if err != nil {
		tb.Fatalf("building a program of the document: %v\n%s", err, printed)
	}
	return path
}

// programOf returns the first program below a heading.
func programOf(tb testing.TB, heading string) string {
	tb.Helper()
	text, err := os.ReadFile(document)
	if err != nil {
		tb.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "\n## "+heading+"\n")
	block := regexp.MustCompile("(?s)\n```(?:go|js|bash)\n(.*?)\n```\n").FindStringSubmatch(rest)
	if !found || block == nil {
		tb.Fatalf("%s has no program below %q", document, heading)
	}
	return block[1] + "\n"
}

// tool returns the path in an environment variable. It skips the test without one.
func tool(tb testing.TB, variable string) string {
	tb.Helper()
	path := os.Getenv(variable)
	if path == "" {
		programtest.Skipf(tb, "%s is not set: .ci/run installs what it names", variable)
	}
	return path
}

func lookPath(tb testing.TB, program string) string {
	tb.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		programtest.Skipf(tb, "%s is not installed", program)
	}
	return path
}

func (c *client) start() {
	c.tb.Helper()
	c.process = programtest.Start(c.tb, c.command)
}

// kill kills the process. What it printed last, it may not have acknowledged.
func (c *client) kill() {
	c.process.Kill()
	lines := c.lines()
	c.exempt(lines[max(len(lines)-maxHeld, 0):])
	c.exemptLeftovers()
	c.ended, c.process = c.ended+c.process.Output(), nil
	c.began = len(c.lines())
}

// maxHeld bounds the messages that a program of the document holds.
const maxHeld = 64

// exempt marks lines that may come again.
func (c *client) exempt(lines []string) {
	for _, line := range lines {
		c.exempted[line] = true
	}
}

// exemptLeftovers marks the lines with which a process of the nats CLI began: its predecessor
// received them, and may not have acknowledged them.
func (c *client) exemptLeftovers() {
	if lines := c.lines()[c.began:]; c.kind == "The nats CLI" {
		c.exempt(lines[:min(len(lines), maxHeld)])
	}
}

// lines returns what all processes have printed, line by line. An unfinished line is left out.
func (c *client) lines() []string {
	text := c.ended
	if c.process != nil {
		text += c.process.Output()
	}
	var lines []string
	for line := range bytes.Lines([]byte(text)) {
		if bytes.HasSuffix(line, []byte("\n")) {
			lines = append(lines, strings.TrimSpace(string(line)))
		}
	}
	return lines
}

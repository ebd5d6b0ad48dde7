package simulator

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// namedFault is a misbehaviour that has a name. It replaces an answer or changes a good one.
type namedFault struct {
	help string
	// token and room are the endpoints that have the fault.
	token, room bool
	// answer replaces the answer. With Room, only a call that would make a room gets it. The zero value changes only
	// good answers.
	answer Answer
	// change changes a good answer; nil for none.
	change func(*Answer)
	// firstToken limits the fault to room calls with the first token.
	firstToken bool
}

// The ways to define a fault.
func roomAnswer(help string, a Answer) namedFault {
	return namedFault{room: true, help: help, answer: a}
}

func roomChange(help string, change func(*Answer)) namedFault {
	return namedFault{room: true, help: help, change: change}
}

func tokenAnswer(help string, a Answer) namedFault {
	return namedFault{token: true, help: help, answer: a}
}

func tokenChange(help string, change func(*Answer)) namedFault {
	return namedFault{token: true, help: help, change: change}
}

func anyChange(help string, change func(*Answer)) namedFault {
	return namedFault{token: true, room: true, help: help, change: change}
}

// html returns a page of somebody between the client and auvious.
func html(status int) Answer {
	body := "<!doctype html>\n<title>" + http.StatusText(status) + "</title>\n"
	return Answer{Status: status, Body: body}.withHeader("Content-Type", "text/html; charset=utf-8")
}

// backend404 returns the answer of an ingress without a backend.
func backend404() Answer {
	return Answer{Status: 404, Body: "default backend - 404"}.withHeader("Content-Type", "text/plain; charset=utf-8")
}

// afterRoom returns the answer with a room made before it.
func afterRoom(a Answer) Answer {
	a.Room = true
	return a
}

// namedFaults are the named faults. Every name of a fault of the token endpoint alone begins with "token-".
var namedFaults = map[string]namedFault{
	// Somebody in between answers, and there is no room.
	"ingress-404":    roomAnswer(`404 text/plain "default backend - 404", as an ingress`, backend404()),
	"firewall-403":   roomAnswer("403 with a page of HTML, as a firewall", html(403)),
	"misdirected":    roomAnswer("421 with a page of HTML", html(421)),
	"redirect":       roomAnswer("302 to a page for signing in", html(302).withHeader("Location", "/sign-in")),
	"cloudflare-521": roomAnswer("521 with a page of HTML: the origin is down", html(521)),

	// Somebody in between answers, or nobody does, after auvious made a room.
	"gateway-502":    roomAnswer("makes a room; 502 with a page of HTML", afterRoom(html(502))),
	"gateway-504":    roomAnswer("makes a room; 504 with a page of HTML", afterRoom(html(504))),
	"cloudflare-520": roomAnswer("makes a room; 520 with a page of HTML", afterRoom(html(520))),
	"cloudflare-524": roomAnswer("makes a room; 524 with a page of HTML", afterRoom(html(524))),
	"drop":           roomAnswer("makes a room; closes the connection", Answer{Room: true, Close: CloseAfterReading}),
	"hang":           roomAnswer("makes a room; no answer until the client gives up", hang()),
	"cut-off":        roomChange("makes a room; ends its answer in the middle", cutOff),

	// auvious answers.
	"rejected":             roomAnswer(`422 {"error":"simulated fault"}`, refusal(422, "simulated fault")),
	"busy":                 roomAnswer(`429 {"error":"simulated fault"}`, refusal(429, "simulated fault")),
	"invalid-token":        roomAnswer(`403 {"error":"invalid_token"}`, refusal(403, "invalid_token")),
	"invalid-token-header": roomAnswer("400 without a body; WWW-Authenticate says invalid_token", challenge()),
	"first-token-invalid":  firstToken(`403 {"error":"invalid_token"} for the first token only`, refusal(403, "invalid_token")),
	"no-links":             roomAnswer("makes a room; 200 {}", Answer{Room: true, Status: 200, Body: "{}"}),
	"recording-null":       roomChange("recordingUrl is null", changeMember("recordingUrl", "null")),
	"recording-absent":     roomChange("recordingUrl is absent", changeMember("recordingUrl", "")),

	// Both endpoints answer well, but oddly.
	"bom":             anyChange("a byte order mark before the JSON", func(a *Answer) { a.Body = "\ufeff" + a.Body }),
	"text-plain":      anyChange("JSON as text/plain", changeHeader("Content-Type", "text/plain")),
	"no-content-type": anyChange("JSON without a content type", changeHeader("Content-Type")),
	"gzip":            anyChange("JSON in gzip, asked for or not", compress),
	"false-gzip":      anyChange("Content-Encoding: gzip on plain JSON", changeHeader("Content-Encoding", "gzip")),

	// The token endpoint answers.
	"token-html":             tokenAnswer("200 with a page of HTML", html(200)),
	"token-empty":            tokenAnswer("200 without a body", Answer{Status: 200}),
	"token-ingress-404":      tokenAnswer(`404 text/plain "default backend - 404"`, backend404()),
	"token-unavailable":      tokenAnswer("503 with a page of HTML", html(503)),
	"token-refused":          tokenAnswer(`401 {"error":"invalid_client"}`, refusal(401, invalidClient)),
	"token-drop":             tokenAnswer("closes the connection", Answer{Close: CloseAfterReading}),
	"token-type-mac":         tokenChange(`"token_type":"mac"`, changeMember("token_type", `"mac"`)),
	"token-type-absent":      tokenChange("token_type is absent", changeMember("token_type", "")),
	"token-line-break":       tokenChange("a line break behind the token", changeToken(26, "\r\n")),
	"token-broken":           tokenChange("a line break in the middle of the token", changeToken(13, "\r\n")),
	"token-expires-decimal":  tokenChange(`"expires_in":3600.0`, changeMember("expires_in", "3600.0")),
	"token-expires-exponent": tokenChange(`"expires_in":3.6e3`, changeMember("expires_in", "3.6e3")),
	"token-expires-text":     tokenChange(`"expires_in":"3600"`, changeMember("expires_in", `"3600"`)),
	"token-expires-empty":    tokenChange(`"expires_in":""`, changeMember("expires_in", `""`)),
}

// firstToken returns a fault of calls with the first token.
func firstToken(help string, a Answer) namedFault {
	fault := roomAnswer(help, a)
	fault.firstToken = true
	return fault
}

// hang returns an answer that never comes.
func hang() Answer { return Answer{Room: true, Wait: make(chan struct{}), Close: CloseAfterReading} }

// challenge returns a refusal of the token by its header alone (RFC 6750, section 3).
func challenge() Answer {
	return Answer{Status: 400}.withHeader("WWW-Authenticate", `Bearer realm="auvious", error="invalid_token"`)
}

// NamedFaults returns the names of all named faults, each with a description in one line.
func NamedFaults() map[string]string {
	help := make(map[string]string, len(namedFaults))
	for name, fault := range namedFaults {
		help[name] = fault.help
	}
	return help
}

// changeHeader returns a change of a header. Without values the answer does not have it.
func changeHeader(name string, values ...string) func(*Answer) {
	return func(a *Answer) {
		*a = a.withHeader(name, "")
		a.Header[name] = values
	}
}

// changeMember returns a change of a member of the JSON. The value "" removes the member.
func changeMember(name, value string) func(*Answer) {
	return func(a *Answer) {
		members := map[string]json.RawMessage{}
		if json.Unmarshal([]byte(a.Body), &members) != nil {
			return
		}
		if delete(members, name); value != "" {
			members[name] = json.RawMessage(value)
		}
		a.Body = jsonAnswer(a.Status, members).Body
	}
}

// changeToken returns a change that inserts a text into the access token.
func changeToken(at int, insert string) func(*Answer) {
	return func(a *Answer) {
		var token struct {
			AccessToken string `json:"access_token"`
		}
		if json.Unmarshal([]byte(a.Body), &token) == nil {
			changed := token.AccessToken[:at] + insert + token.AccessToken[at:]
			changeMember("access_token", strconv.Quote(changed))(a)
		}
	}
}

// compress compresses the body.
func compress(a *Answer) {
	var body bytes.Buffer
	w := gzip.NewWriter(&body)
	_, _ = w.Write([]byte(a.Body)) // a buffer takes everything
	_ = w.Close()
	changeHeader("Content-Encoding", "gzip")(a)
	a.Body = body.String()
}

// cutOff announces the whole body and sends half of it.
func cutOff(a *Answer) {
	changeHeader("Content-Length", strconv.Itoa(len(a.Body)))(a)
	a.Body = a.Body[:len(a.Body)/2]
}

// limitedFault is a named fault of some calls.
type limitedFault struct {
	namedFault
	// first is the number of calls that get the fault, share their share, and lasts the time from the first of them. A
	// zero value is no limit.
	first int
	share float64
	lasts time.Duration

	mu    sync.Mutex
	calls int
	began time.Time
}

// parseAll reads named faults.
func parseAll(texts []string) ([]*limitedFault, error) {
	var faults []*limitedFault
	for _, text := range texts {
		fault, err := parseNamed(text)
		if err != nil {
			return nil, err
		}
		faults = append(faults, fault)
	}
	return faults, nil
}

// parseNamed reads a named fault: "bom", "bom:first=3", "bom:share=0.5" or "bom:for=3s".
func parseNamed(text string) (*limitedFault, error) {
	name, limit, limited := strings.Cut(text, ":")
	fault, ok := namedFaults[name]
	if !ok {
		return nil, fmt.Errorf("fault %q is not one of %s: %w",
			name, strings.Join(slices.Sorted(maps.Keys(namedFaults)), ", "), ErrFaults)
	}
	f := &limitedFault{namedFault: fault}
	if limited && !f.parseLimit(limit) {
		return nil, fmt.Errorf("fault %q has none of the limits first=3, share=0.5, for=3s: %w", text, ErrFaults)
	}
	return f, nil
}

// parseLimit reads a limit, and reports whether it is one.
func (f *limitedFault) parseLimit(text string) bool {
	kind, value, _ := strings.Cut(text, "=")
	var err error
	switch kind {
	case "first":
		f.first, err = strconv.Atoi(value)
		return err == nil && f.first > 0
	case "share":
		f.share, err = strconv.ParseFloat(value, 64)
		return err == nil && f.share > 0 && f.share <= 1
	case "for":
		f.lasts, err = time.ParseDuration(value)
		return err == nil && f.lasts > 0
	}
	return false
}

// strikes reports whether a call gets the fault. It counts the calls that do.
func (f *limitedFault) strikes(now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.began.IsZero() {
		f.began = now
	}
	switch {
	case f.first > 0 && f.calls >= f.first,
		f.share > 0 && rand.Float64() >= f.share,
		f.lasts > 0 && now.Sub(f.began) >= f.lasts:
		return false
	}
	f.calls++
	return true
}

// of returns the fault of a call: the first that applies. It returns a fault without effect if there is none.
func (f Faults) of(now time.Time, applies func(namedFault) bool) namedFault {
	for _, named := range f.named {
		if applies(named.namedFault) && named.strikes(now) {
			return named.namedFault
		}
	}
	return namedFault{}
}

// replaces reports whether the fault replaces the answer.
func (f namedFault) replaces() bool { return f.answer.Status != 0 || f.answer.Close != KeepOpen }

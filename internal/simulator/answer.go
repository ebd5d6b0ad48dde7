package simulator

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"time"
)

// Call is one room call as a script sees it.
type Call struct {
	// Request is what was received. Its InteractionID is empty if the body does
	// not name one.
	Request

	// Number counts the room calls for this interaction: 1 is the first.
	Number int
}

// Answer is what goes out on the wire for one call, raw.
type Answer struct { //nolint:recvcheck // with makes a copy, and normal takes no answer at all
	// Room has a room made, and counted for the call's interaction, before
	// anything is answered. It means nothing for a token call, with a zero
	// Status that asks for normal behaviour, and with CloseBeforeReading.
	Room bool

	// Wait, unless nil, holds the answer back until the channel is closed or the
	// client gives up.
	Wait <-chan struct{}

	// Close, unless KeepOpen, closes the connection where an answer would begin;
	// Status, Header and Body are not sent.
	Close Close

	// Status is the answer's status, from 200 to 999. Zero, with KeepOpen, is
	// normal behaviour once Wait is over.
	Status int

	// Header is added to the answer. Content-Type is application/json unless
	// named here. A Content-Length larger than Body cuts the answer off.
	Header http.Header

	// Body is sent as it is.
	Body string
}

// Close says whether, and how, an [Answer] closes the connection.
type Close int

// What becomes of the connection.
const (
	// KeepOpen leaves the connection to the server: an answer is sent.
	KeepOpen Close = iota
	// CloseBeforeReading resets the connection (TCP RST; under TLS it is only
	// closed), which is what a client sees of a server that went away with the
	// request unread. No room is made.
	CloseBeforeReading
	// CloseAfterReading closes the connection in good order without an answer,
	// as a server that took the request and died. Room says if a room was made.
	CloseAfterReading
)

// Script has every room call from now on answered by what script returns for it;
// nil means normal behaviour. A nil script ends that. It is called from many
// goroutines at once, before [Faults] and before token and schema are checked.
func (s *Simulator) Script(script func(Call) *Answer) {
	if script == nil {
		s.script.Store(nil)
		return
	}
	s.script.Store(&script)
}

// ScriptTokens does for token calls what [Simulator.Script] does for room calls.
// The script gets the number of the token call: 1 is the simulator's first.
func (s *Simulator) ScriptTokens(script func(number int) *Answer) {
	if script == nil {
		s.tokenScript.Store(nil)
		return
	}
	s.tokenScript.Store(&script)
}

// normal reports whether the answer leaves the call to normal behaviour.
func (a *Answer) normal() bool {
	return a.Status == 0 && a.Close == KeepOpen
}

// play delivers a scripted answer. It reports false where the call is left to
// normal behaviour, after the answer's wait if it has one.
func play(w http.ResponseWriter, r *http.Request, a *Answer, statuses *statusCounts) bool {
	switch {
	case a == nil:
		return false
	case !a.normal():
		deliver(w, r, *a, statuses)
		return true
	case waitFor(r.Context(), a.Wait):
		return false
	}
	deliver(w, r, Answer{Close: CloseAfterReading}, statuses)
	return true
}

// deliver puts an answer on the wire, counting its status first; no answer at
// all counts as status 0.
func deliver(w http.ResponseWriter, r *http.Request, a Answer, statuses *statusCounts) {
	if !waitFor(r.Context(), a.Wait) {
		a.Close = CloseAfterReading
	}
	if a.Close != KeepOpen {
		statuses.add(0)
		closeConnection(w, a.Close)
		return
	}
	statuses.add(a.Status)
	write(w, a)
}

// write sends an answer that is not to be lost.
func write(w http.ResponseWriter, a Answer) {
	header := w.Header()
	header["Content-Type"] = []string{"application/json"}
	for name, values := range a.Header {
		header[http.CanonicalHeaderKey(name)] = values
	}
	w.WriteHeader(a.Status)
	_, _ = w.Write([]byte(a.Body)) // the client may be gone: nobody to tell
}

// closeConnection ends the connection without an answer.
func closeConnection(w http.ResponseWriter, how Close) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok && how == CloseBeforeReading {
		_ = tcp.SetLinger(0) // unsent and unread data dropped: an RST goes out
	}
	_ = conn.Close()
}

// waitFor waits for the channel, if there is one, and reports whether it was
// closed before ctx was done.
func waitFor(ctx context.Context, wait <-chan struct{}) bool {
	if wait == nil {
		return true
	}
	select {
	case <-wait:
		return true
	case <-ctx.Done():
		return false
	}
}

// pause lets the latency pass, and reports whether ctx outlived it.
func (s *Simulator) pause(ctx context.Context) bool {
	d := s.latency.Load().Sample()
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// finish lets the latency pass and delivers the answer.
func (s *Simulator) finish(w http.ResponseWriter, r *http.Request, a Answer, statuses *statusCounts) {
	if !s.pause(r.Context()) {
		a.Close = CloseAfterReading
	}
	deliver(w, r, a, statuses)
}

// jsonAnswer is an answer with value as its body.
func jsonAnswer(status int, value any) Answer {
	body, err := json.Marshal(value)
	if err != nil { // only types of this package come here, and all can be encoded
		return Answer{Status: http.StatusInternalServerError, Body: `{"error":"encoding the answer"}`}
	}
	return Answer{Status: status, Body: string(body)}
}

// refusal is an answer in auvious' form of an error.
func refusal(status int, description string) Answer {
	return jsonAnswer(status, struct {
		Error string `json:"error"`
	}{description})
}

// with returns the answer with one more header.
func (a Answer) with(name, value string) Answer {
	if a.Header == nil {
		a.Header = http.Header{}
	}
	a.Header.Set(name, value)
	return a
}

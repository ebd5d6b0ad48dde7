package simulator

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"time"
)

// Call is a room call for a script.
type Call struct {
	Request

	// Number counts the room calls of the interaction from 1.
	Number int
}

// Answer is the raw answer to a call.
type Answer struct { //nolint:recvcheck // withHeader returns a copy, and normal accepts nil
	// Room makes a room for the call's interaction before the answer. It has no effect on a
	// token call, on normal behaviour and with CloseBeforeReading.
	Room bool

	// Wait delays the answer until the channel is closed or the client gives up; nil for
	// no delay.
	Wait <-chan struct{}

	// Close closes the connection in place of an answer, unless it is KeepOpen.
	Close Close

	// Status is the answer's status, from 200 to 999. 0 with KeepOpen is normal behaviour
	// after Wait.
	Status int

	// Header is added to the answer. The default Content-Type is application/json. A
	// Content-Length larger than Body truncates the answer.
	Header http.Header

	Body string
}

// Close is how an [Answer] closes the connection.
type Close int

// The ways to close a connection.
const (
	// KeepOpen sends an answer and does not close the connection.
	KeepOpen Close = iota
	// CloseBeforeReading resets the connection (TCP RST; with TLS it is closed), like a
	// server that stops before it has read the request. No room is made.
	CloseBeforeReading
	// CloseAfterReading closes the connection normally without an answer, like a server that
	// stops after it has read the request. A room is made if Room is set.
	CloseAfterReading
)

// Script sets a function that returns the answer to each room call, or nil for normal
// behaviour. A nil script removes it. Many goroutines call the script at once, before [Faults]
// and all checks apply.
func (s *Simulator) Script(script func(Call) *Answer) {
	if script == nil {
		s.script.Store(nil)
		return
	}
	s.script.Store(&script)
}

// ScriptTokens is [Simulator.Script] for token calls. The script receives the number of the
// call, counted from 1.
func (s *Simulator) ScriptTokens(script func(number int) *Answer) {
	if script == nil {
		s.tokenScript.Store(nil)
		return
	}
	s.tokenScript.Store(&script)
}

// normal reports whether the answer asks for normal behaviour.
func (a *Answer) normal() bool {
	return a.Status == 0 && a.Close == KeepOpen
}

// play delivers a scripted answer. It waits and returns false if the answer asks for normal
// behaviour.
func play(w http.ResponseWriter, r *http.Request, a *Answer, count func(status int)) bool {
	switch {
	case a == nil:
		return false
	case !a.normal():
		deliver(w, r, *a, count)
		return true
	case waitFor(r.Context(), a.Wait):
		return false
	}
	deliver(w, r, Answer{Close: CloseAfterReading}, count)
	return true
}

// deliver counts an answer's status and sends the answer. A lost answer counts as status 0.
func deliver(w http.ResponseWriter, r *http.Request, a Answer, count func(status int)) {
	if !waitFor(r.Context(), a.Wait) {
		a.Close = CloseAfterReading
	}
	if a.Close != KeepOpen {
		count(0)
		closeConnection(w, a.Close)
		return
	}
	count(a.Status)
	write(w, a)
}

// write sends an answer.
func write(w http.ResponseWriter, a Answer) {
	header := w.Header()
	header.Set("Content-Type", "application/json")
	for name, values := range a.Header {
		header[http.CanonicalHeaderKey(name)] = values
	}
	w.WriteHeader(a.Status)
	_, _ = w.Write([]byte(a.Body)) // nobody to tell if the client is gone
}

// closeConnection ends the connection without an answer.
func closeConnection(w http.ResponseWriter, how Close) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok && how == CloseBeforeReading {
		_ = tcp.SetLinger(0) // makes Close send an RST
	}
	_ = conn.Close()
}

// waitFor waits for the channel and reports whether it was ready before ctx ended. It does not
// wait for a nil channel.
func waitFor[T any](ctx context.Context, wait <-chan T) bool {
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

// pause waits for the latency and reports whether it passed before ctx ended.
func (s *Simulator) pause(ctx context.Context) bool {
	d := s.latency.Load().Sample()
	return d <= 0 || waitFor(ctx, time.After(d))
}

// finish waits for the latency and delivers the answer.
func (s *Simulator) finish(w http.ResponseWriter, r *http.Request, a Answer, count func(status int)) {
	if !s.pause(r.Context()) {
		a.Close = CloseAfterReading
	}
	deliver(w, r, a, count)
}

// jsonAnswer returns an answer with value as its body.
func jsonAnswer(status int, value any) Answer {
	body, err := json.Marshal(value)
	if err != nil { // impossible for the types of this package
		return Answer{Status: http.StatusInternalServerError, Body: `{"error":"encoding the answer"}`}
	}
	return Answer{Status: status, Body: string(body)}
}

// refusal returns an error answer in auvious' form.
func refusal(status int, description string) Answer {
	return jsonAnswer(status, struct {
		Error string `json:"error"`
	}{description})
}

// withHeader returns a copy of the answer with another header.
func (a Answer) withHeader(name, value string) Answer {
	header := a.Header.Clone()
	if header == nil {
		header = http.Header{}
	}
	header.Set(name, value)
	a.Header = header
	return a
}

package simulator

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
)

// settings is the body of GET and PUT /simulator/faults.
type settings struct {
	Faults
	// Latency is optional in PUT.
	Latency *Latency `json:"latency,omitempty"`
}

// serveStats answers GET /simulator/stats.
func (s *Simulator) serveStats(w http.ResponseWriter, _ *http.Request) {
	write(w, jsonAnswer(http.StatusOK, s.Stats()))
}

// serveRooms answers GET /simulator/rooms/{interactionId}.
func (s *Simulator) serveRooms(w http.ResponseWriter, r *http.Request) {
	interactionID := r.PathValue("interactionId")
	write(w, jsonAnswer(http.StatusOK, struct {
		InteractionID string `json:"interactionId"`
		Rooms         int    `json:"rooms"`
	}{interactionID, s.Rooms(interactionID)}))
}

// serveFaults answers GET /simulator/faults.
func (s *Simulator) serveFaults(w http.ResponseWriter, _ *http.Request) {
	write(w, jsonAnswer(http.StatusOK, settings{*s.faults.Load(), s.latency.Load()}))
}

// serveSetFaults answers PUT /simulator/faults.
func (s *Simulator) serveSetFaults(w http.ResponseWriter, r *http.Request) {
	var wanted settings
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(&wanted)
	if err == nil && !errors.Is(decoder.Decode(&struct{}{}), io.EOF) {
		err = errors.New("the body contains more than one JSON value")
	}
	if err == nil {
		err = s.SetFaults(wanted.Faults)
	}
	if err != nil {
		write(w, refusal(http.StatusBadRequest, err.Error()))
		return
	}
	if wanted.Latency != nil {
		s.SetLatency(*wanted.Latency)
	}
	s.serveFaults(w, r)
}

// serveAgent answers GET /agent/{room}.
func (s *Simulator) serveAgent(w http.ResponseWriter, _ *http.Request) {
	writePage(w, "The agent's side of a simulated room.")
}

// serveTicket answers and counts a request below /t/, which in the real auvious could use up
// the ticket.
func (s *Simulator) serveTicket(w http.ResponseWriter, _ *http.Request) {
	s.ledger.count(func(stats *Stats) { stats.TicketFetches++ })
	writePage(w, "The customer's side of a simulated room.")
}

func writePage(w http.ResponseWriter, text string) {
	page := "<!doctype html>\n<meta charset=\"utf-8\">\n<title>Simulated auvious</title>\n<p>" + text + "</p>\n"
	write(w, Answer{Status: http.StatusOK, Body: page}.
		withHeader("Content-Type", "text/html; charset=utf-8").withHeader("Cache-Control", "no-store"))
}

// serveNotFound answers every other request.
func serveNotFound(w http.ResponseWriter, _ *http.Request) {
	write(w, refusal(http.StatusNotFound, "not found"))
}

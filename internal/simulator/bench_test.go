package simulator_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"roomlink/internal/simulator"
)

// BenchmarkRoom measures a room call without the network.
func BenchmarkRoom(b *testing.B) {
	s, err := simulator.New(simulator.Config{})
	if err != nil {
		b.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/security/oauth/token",
		strings.NewReader(form(simulator.DefaultClientID, simulator.DefaultClientSecret)))
	r.Header.Set("Content-Type", formType)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	var token struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &token); err != nil {
		b.Fatal(err)
	}
	var number atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			body := roomBody(strconv.FormatInt(number.Add(1), 10))
			r := httptest.NewRequest(http.MethodPost, "/security/facades/room", strings.NewReader(body))
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Authorization", "Bearer "+token.AccessToken)
			s.ServeHTTP(httptest.NewRecorder(), r)
		}
	})
	if got := s.Stats().RoomsMade; got != b.N {
		b.Errorf("got %d rooms, want %d", got, b.N)
	}
}

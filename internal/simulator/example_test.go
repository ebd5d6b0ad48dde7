package simulator_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"

	"roomlink/internal/simulator"
)

func Example() {
	auvious, err := simulator.New(simulator.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	server := httptest.NewServer(auvious)
	defer server.Close()

	answer, err := http.PostForm(server.URL+"/security/oauth/token", url.Values{
		"grant_type":    {"client_credentials"},
		"client_id":     {simulator.DefaultClientID},
		"client_secret": {simulator.DefaultClientSecret},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer answer.Body.Close()
	var token struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&token); err != nil {
		fmt.Println(err)
		return
	}

	r, err := http.NewRequest(http.MethodPost, server.URL+"/security/facades/room", strings.NewReader(`{
		"applicationId": "app", "cdestination": "standalone", "customerId": "customer",
		"interactionId": "interaction", "urlBase": "https://auvious.video"}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+token.AccessToken)
	room, err := http.DefaultClient.Do(r)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer room.Body.Close()

	fmt.Println(room.Status)
	fmt.Println("rooms:", auvious.Rooms("interaction"))
	fmt.Println("ticket fetches:", auvious.Stats().TicketFetches)
	// Output:
	// 200 OK
	// rooms: 1
	// ticket fetches: 0
}

func ExampleSimulator_Script() {
	auvious, err := simulator.New(simulator.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	auvious.Script(func(call simulator.Call) *simulator.Answer {
		if call.InteractionID == "interaction" && call.Number == 1 {
			return &simulator.Answer{Status: http.StatusServiceUnavailable, Body: `{"error":"try again"}`}
		}
		return nil
	})

	w := httptest.NewRecorder()
	auvious.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/security/facades/room",
		strings.NewReader(`{"interactionId":"interaction"}`)))
	fmt.Println(w.Code, w.Body)
	fmt.Println("rooms:", auvious.Rooms("interaction"))
	// Output:
	// 503 {"error":"try again"}
	// rooms: 0
}

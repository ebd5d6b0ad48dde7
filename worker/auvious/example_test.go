package auvious_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"

	"roomlink/internal/accounts"
	"roomlink/internal/simulator"
	"roomlink/worker/auvious"
)

func ExampleClient_CreateRoom() {
	// A simulated auvious. The real one is at https://auvious.video.
	facade, err := simulator.New(simulator.Config{BaseURL: "https://auvious.example"})
	if err != nil {
		fmt.Println(err)
		return
	}
	server := httptest.NewServer(facade)
	defer server.Close()

	rooms := accounts.Default("acme").Auvious.Rooms
	rooms.URL = server.URL
	rooms.ClientID, rooms.ClientSecret = simulator.DefaultClientID, simulator.DefaultClientSecret
	client, err := auvious.New(rooms)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	request := auvious.RoomRequest{
		ApplicationID: "app-1",
		Destination:   "standalone",
		CustomerID:    "contact-42",
		InteractionID: "call-1",
		URLBase:       "https://auvious.video",
	}
	room, err := client.CreateRoom(context.Background(), request)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("agent:", room.AgentURL != "", "recording:", room.RecordingURL != "")
	fmt.Println("ticket:", room.TicketURL) // its holder may enter the call

	request.Destination = "elsewhere"
	_, err = client.CreateRoom(context.Background(), request)
	fmt.Println("refused:", errors.Is(err, auvious.ErrRejected))
	fmt.Println(err)
	// Output:
	// agent: true recording: false
	// ticket: [redacted]
	// refused: true
	// auvious refused the request: room endpoint: 400 application/json, error: cdestination is not standalone
}

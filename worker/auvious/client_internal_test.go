package auvious

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"roomlink/internal/accounts"
)

const callTimeout = 10 * time.Second

// dialing returns a client with a token that connects with dial.
func dialing(t *testing.T, dial func(ctx context.Context, network, address string) (net.Conn, error)) *Client {
	t.Helper()
	client, err := New(accounts.Rooms{
		URL: "http://auvious.test", AllowHTTPHosts: []string{"auvious.test"}, Timeout: callTimeout, Concurrency: 1,
	})
	if err != nil {
		t.Fatalf("making a client: %v", err)
	}
	t.Cleanup(client.Close)
	client.transport.DialContext = dial
	client.tokens.current.Store(&accessToken{authorization: "Bearer hush", fetchedAt: time.Now()})
	return client
}

// TestCallTimesOut: the kind of the error depends on whether the call was sent.
func TestCallTimesOut(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		dial func(ctx context.Context, network, address string) (net.Conn, error)
		want error
	}{
		{"while connecting", func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}, ErrNotDone},
		{"while sending", func(context.Context, string, string) (net.Conn, error) {
			ours, _ := net.Pipe() // nobody reads the other end
			return ours, nil
		}, ErrUnknownOutcome},
		{"after sending", func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go func() { _, _ = http.ReadRequest(bufio.NewReader(theirs)) }()
			return ours, nil
		}, ErrUnknownOutcome},
		{"within the answer", func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go func() {
				_, _ = http.ReadRequest(bufio.NewReader(theirs))
				_, _ = fmt.Fprint(theirs, "HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n{")
			}()
			return ours, nil
		}, ErrUnknownOutcome},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				client := dialing(t, test.dial)
				began := time.Now()
				_, err := client.CreateRoom(t.Context(), RoomRequest{InteractionID: "call-1"})
				if !errors.Is(err, test.want) {
					t.Errorf("got error %v, want %v", err, test.want)
				}
				if got := time.Since(began); got != callTimeout {
					t.Errorf("the call took %v, want %v", got, callTimeout)
				}
			})
		})
	}
}

// TestCallersDeadline: before the call is sent, the caller's deadline is the caller's own error.
func TestCallersDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client := dialing(t, func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := client.CreateRoom(ctx, RoomRequest{InteractionID: "call-1"})
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrNotDone) {
			t.Errorf("got error %v, want the caller's own %v", err, context.DeadlineExceeded)
		}
	})
}

// FuzzReadRoom: for any answer, readRoom returns usable URLs, or an error that quotes no URL.
func FuzzReadRoom(f *testing.F) {
	const url = "https://auvious.video/t/hush"
	for _, seed := range []string{
		``, `null`, `{}`, `[]`, `"` + url + `"`, `{"agentUrl":7}`,
		`{"agentUrl":"` + url + `","recordingUrl":"","ticketUrl":"` + url + `"}`,
		`{"agentUrl":"` + url + `","recordingUrl":null,"ticketUrl":"` + url + `"}`,
		`{"agentUrl":"` + url + `","recordingUrl":"","ticketUrl":"http://localhost/t/hush"}`,
		`{"agentUrl":"javascript:alert(1)","recordingUrl":"","ticketUrl":"` + url + `"}`,
		`{"AGENTURL":"` + url + `","recordingurl":"/r","ticketUrl":"https://u:p@host"}`,
		`{"agentUrl":"https://\u0000","recordingUrl":"","ticketUrl":"https://[::1"}`,
	} {
		f.Add([]byte(seed))
	}
	client := &Client{allowHTTP: []string{"auvious.test"}}
	f.Fuzz(func(t *testing.T, body []byte) {
		response := &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(body))}
		room, err := client.readRoom(readAnswer(RoomEndpoint, response))
		if err != nil {
			if room != (Room{}) {
				t.Errorf("room beside an error: got %+v, want none", room)
			}
			if text := err.Error(); strings.Contains(text, "://") || len(text) > maxDetail {
				t.Errorf("error: got %q, want a short one without an address", text)
			}
			return
		}
		for _, link := range []string{room.AgentURL, room.RecordingURL, room.TicketURL.Reveal()} {
			if link == "" && room.RecordingURL == "" {
				continue
			}
			wantUsable(t, link)
		}
		if room.AgentURL == "" || room.TicketURL == "" {
			t.Errorf("got a room without %q or without a ticket, want both", room.AgentURL)
		}
	})
}

// wantUsable checks with the standard library that a link can be requested.
func wantUsable(t *testing.T, link string) {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, link, nil)
	if err != nil {
		t.Fatalf("link %q: got error %v, want a usable one", link, err)
	}
	target := request.URL
	if target.Hostname() == "" || target.User != nil || target.Scheme != "https" && target.Scheme != "http" {
		t.Errorf("link %q: got no host, a user or another scheme, want an absolute http or https URL", link)
	}
	if host := target.Hostname(); target.Scheme == "http" && host != "auvious.test" && host != "localhost" {
		if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
			t.Errorf("link %q: got http, want https", link)
		}
	}
}

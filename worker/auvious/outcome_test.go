package auvious_test

import (
	"context"
	"io"
	"log"
	"net/http/httptest"
	"strings"
	"testing"

	"roomlink/internal/accounts"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/simulator"
	"roomlink/worker/auvious"
)

// TestConnectionRefused: a call that was not sent made no room.
func TestConnectionRefused(t *testing.T) {
	t.Parallel()
	t.Run("room call", func(t *testing.T) {
		t.Parallel()
		s, err := simulator.New(simulator.Config{ClientID: clientID, ClientSecret: clientSecret})
		if err != nil {
			t.Fatalf("making a simulator: %v", err)
		}
		server := httptest.NewUnstartedServer(s)
		// On a kept connection, the next call would be sent before the client notices its end.
		server.Config.SetKeepAlivesEnabled(false)
		server.Start()
		client := newClient(t, accounts.Rooms{URL: server.URL})
		mustCreate(t, client, "call-1")
		server.Close()
		failed := mustFail(t, client, "call-2")
		wantKind(t, failed, auvious.ErrNotDone, 0)
		wantDetail(t, failed, "connection refused")
	})
	t.Run("token call", func(t *testing.T) {
		t.Parallel()
		server := httptest.NewServer(nil)
		server.Close()
		failed := mustFail(t, newClient(t, accounts.Rooms{URL: server.URL}), "call-1")
		wantKind(t, failed, auvious.ErrAccount, 0)
		wantDetail(t, failed, "connection refused")
	})
	t.Run("no such name", func(t *testing.T) {
		t.Parallel()
		client := newClient(t, accounts.Rooms{URL: "https://auvious.invalid"})
		wantKind(t, mustFail(t, client, "call-1"), auvious.ErrAccount, 0)
	})
	t.Run("TLS", func(t *testing.T) {
		t.Parallel()
		server := httptest.NewUnstartedServer(nil)
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		server.StartTLS() // with an unknown certificate
		t.Cleanup(server.Close)
		failed := mustFail(t, newClient(t, accounts.Rooms{URL: server.URL}), "call-1")
		wantKind(t, failed, auvious.ErrAccount, 0)
		wantDetail(t, failed, "TLS failed")
	})
}

// TestAnswerLost: the call was sent, so a room may exist.
func TestAnswerLost(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		answer simulator.Answer
		status int
		detail string
	}{
		{
			"reset",
			simulator.Answer{Close: simulator.CloseBeforeReading},
			0, "room endpoint: the call was sent but not answered: connection lost",
		},
		{
			"end of file",
			simulator.Answer{Close: simulator.CloseAfterReading, Room: true},
			0, "room endpoint: the call was sent but not answered: connection lost",
		},
		{
			"cut off after 200",
			simulator.Answer{Room: true, Status: 200, Body: goodRoom[:30], Header: header("Content-Length", "300")},
			200, "room endpoint: 200 application/json, cut off",
		},
		{
			"cut off after 201, before the first byte",
			simulator.Answer{Room: true, Status: 201, Header: header("Content-Length", "300")},
			201, "room endpoint: 201 application/json, cut off",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := serve(t, simulator.Config{})
			f.answer(test.answer)
			failed := mustFail(t, f.client(t), "call-1")
			wantKind(t, failed, auvious.ErrUnknownOutcome, test.status)
			wantDetail(t, failed, test.detail)
			f.wantCalls(t, 1, 1) // the client does not repeat the call
		})
	}
}

// TestRefusalCutOff: a status that is no success counts even if its body is cut off. But a refusal is auvious' own
// only if its error arrived.
func TestRefusalCutOff(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		status int
		body   string
		want   auvious.Kind
	}{
		{422, `{"error":"hu`, auvious.ErrNotDone},
		{422, `{"error":"no"}`, auvious.ErrRejected},
		{503, `{"error":"hu`, auvious.ErrNotDone},
		{504, `<html>hu`, auvious.ErrUnknownOutcome},
	} {
		f := serve(t, simulator.Config{})
		f.answer(simulator.Answer{Status: test.status, Body: test.body, Header: header("Content-Length", "300")})
		wantKind(t, mustFail(t, f.client(t), "call-1"), test.want, test.status)
	}
}

// TestCancelledAfterSending: the caller gave up, but a room may exist.
func TestCancelledAfterSending(t *testing.T) {
	t.Parallel()
	f := serve(t, simulator.Config{})
	asked := make(chan struct{})
	f.Script(func(simulator.Call) *simulator.Answer {
		close(asked)
		return &simulator.Answer{Wait: make(chan struct{})}
	})
	client := f.client(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := client.CreateRoom(ctx, roomRequest("call-1"))
		ended <- err
	}()
	roomlinktest.Receive(t, asked, "the room call")
	cancel()
	failed := callError(t, roomlinktest.Receive(t, ended, "the end of the call"))
	wantKind(t, failed, auvious.ErrUnknownOutcome, 0)
}

// TestFacadeRecovers: a failed call does not affect the next one.
func TestFacadeRecovers(t *testing.T) {
	t.Parallel()
	f := serve(t, simulator.Config{})
	client := f.client(t)
	f.Script(func(call simulator.Call) *simulator.Answer {
		switch call.Number {
		case 1:
			return &simulator.Answer{Close: simulator.CloseBeforeReading}
		case 2:
			return &simulator.Answer{Status: 503}
		}
		return nil
	})
	wantKind(t, mustFail(t, client, "call-1"), auvious.ErrUnknownOutcome, 0)
	wantKind(t, mustFail(t, client, "call-1"), auvious.ErrNotDone, 503)
	room := mustCreate(t, client, "call-1")
	if !strings.HasPrefix(room.TicketURL.Reveal(), f.url+"/t/") {
		t.Errorf("ticket URL: got another one, want one that begins with %s/t/", f.url)
	}
	if stats := f.Stats(); stats.RoomsMade != 1 || stats.TicketFetches != 0 {
		t.Errorf("got %d rooms and %d ticket fetches, want 1 and 0", stats.RoomsMade, stats.TicketFetches)
	}
}

func wantDetail(tb testing.TB, failed *auvious.CallError, want string) {
	tb.Helper()
	if !strings.Contains(failed.Detail, want) {
		tb.Errorf("detail: got %q, want %q in it", failed.Detail, want)
	}
}

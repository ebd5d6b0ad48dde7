package accounts_test

import (
	"testing"
	"time"

	"roomlink/internal/accounts"
)

func TestDefault(t *testing.T) {
	t.Setenv("ROOMLINK_CONCURRENCY", "7")
	a := accounts.Default("acme")
	if a.Name != "acme" || !a.Talkdesk.Empty() || a.Talkdesk.Rate != 0 {
		t.Errorf("default: got %q with %+v, want acme without credentials and rate", a.Name, a.Talkdesk)
	}
	want := accounts.Rooms{
		URL: "https://auvious.video", Destination: "standalone", TicketExpiration: 4 * time.Hour,
		Timeout: 10 * time.Second, Concurrency: 64, GiveUpAfter: 15 * time.Minute, UnknownRetries: 3,
	}
	got := a.Auvious.Rooms
	if got.URL != want.URL || got.Destination != want.Destination || got.TicketExpiration != want.TicketExpiration ||
		got.Timeout != want.Timeout || got.Concurrency != want.Concurrency || got.GiveUpAfter != want.GiveUpAfter ||
		got.UnknownRetries != want.UnknownRetries {
		t.Errorf("rooms: got %+v, want %+v", got, want)
	}
	if err := a.Check(); err != nil {
		t.Errorf("checking the default: got error %v, want none", err)
	}
	if err := got.CheckRooms(); err != nil {
		t.Errorf("checking the default rooms: got error %v, want none", err)
	}
}

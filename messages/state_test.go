package messages_test

import (
	"errors"
	"testing"
	"time"

	"roomlink/internal/roomlinktest"
	"roomlink/messages"
)

// A step brings a conversation forward, as the parts of roomlink do.
type step func(*testing.T, *messages.Client)

const stateID = "a"

func stepEvent(t *testing.T, c *messages.Client) {
	roomlinktest.Publish(t, c, roomlinktest.Started(stateID))
}
func stepSettled(t *testing.T, c *messages.Client) { roomlinktest.SettleNext(t, c) }
func stepLinks(t *testing.T, c *messages.Client) {
	roomlinktest.PublishLinks(t, c, roomlinktest.Links(stateID, 1), lastLinks(t, c))
}

func stepExpiredLinks(t *testing.T, c *messages.Client) {
	roomlinktest.PublishLinks(t, c, expiredLinksOf(stateID), lastLinks(t, c))
}

func stepDeadLetter(t *testing.T, c *messages.Client) {
	mustPublishDeadLetter(t, c, deadLetterOf(t, stateID))
}

// lastLinks is the sequence of the links that are there; 0 for none.
func lastLinks(t *testing.T, c *messages.Client) uint64 {
	t.Helper()
	stored, err := c.Links(roomlinktest.Context(t), roomlinktest.Conversation(stateID), messages.Leader)
	if err != nil && !errors.Is(err, messages.ErrNotFound) {
		t.Fatalf("reading the links: %v", err)
	}
	return stored.Sequence
}

func TestState(t *testing.T) {
	for name, test := range map[string]struct {
		steps             []step
		want              messages.Status
		links, deadLetter bool
	}{
		"nothing":                                             {nil, messages.StatusUnknown, false, false},
		"settled without a trace":                             {[]step{stepEvent, stepSettled}, messages.StatusUnknown, false, false},
		"waiting":                                             {[]step{stepEvent}, messages.StatusPending, false, false},
		"waiting, links just stored":                          {[]step{stepEvent, stepLinks}, messages.StatusReady, true, false},
		"waiting, older links":                                {[]step{stepLinks, stepEvent}, messages.StatusReady, true, false},
		"waiting, expired links":                              {[]step{stepExpiredLinks, stepEvent}, messages.StatusPending, true, false},
		"waiting, dead letter":                                {[]step{stepDeadLetter, stepEvent}, messages.StatusPending, false, false},
		"waiting, links, then dead letter":                    {[]step{stepLinks, stepDeadLetter, stepEvent}, messages.StatusReady, true, false},
		"waiting, expired links just stored":                  {[]step{stepEvent, stepExpiredLinks}, messages.StatusExpired, true, false},
		"waiting, dead letter just stored":                    {[]step{stepEvent, stepDeadLetter}, messages.StatusFailed, false, true},
		"waiting, dead letter just stored beside older links": {[]step{stepLinks, stepEvent, stepDeadLetter}, messages.StatusFailed, true, true},
		"waiting after a dead letter and links":               {[]step{stepDeadLetter, stepExpiredLinks, stepEvent}, messages.StatusPending, true, false},
		"links":                                               {[]step{stepEvent, stepLinks, stepSettled}, messages.StatusReady, true, false},
		"expired links":                                       {[]step{stepExpiredLinks}, messages.StatusExpired, true, false},
		"dead letter":                                         {[]step{stepEvent, stepDeadLetter, stepSettled}, messages.StatusFailed, false, true},
		"failed renewal":                                      {[]step{stepLinks, stepDeadLetter}, messages.StatusFailed, true, true},
		"failed renewal, expired links":                       {[]step{stepExpiredLinks, stepDeadLetter}, messages.StatusFailed, true, true},
		"newer links":                                         {[]step{stepDeadLetter, stepLinks}, messages.StatusReady, true, false},
		"newer links, expired":                                {[]step{stepDeadLetter, stepExpiredLinks}, messages.StatusExpired, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			client := newClient(t)
			for _, next := range test.steps {
				next(t, client)
			}
			got, err := client.State(roomlinktest.Context(t), roomlinktest.Conversation(stateID), time.Now())
			if err != nil {
				t.Fatalf("reading the state: %v", err)
			}
			wantState(t, got, test.want)
			if (got.Links != nil) != test.links || (got.DeadLetter != nil) != test.deadLetter {
				t.Errorf("state: got links %t and dead letter %t, want %t and %t",
					got.Links != nil, got.DeadLetter != nil, test.links, test.deadLetter)
			}
		})
	}
}

func wantState(t *testing.T, got messages.State, want messages.Status) {
	t.Helper()
	if got.Status != want {
		t.Errorf("status: got %q, want %q", got.Status, want)
	}
	settled := want != messages.StatusPending && want != messages.StatusUnknown
	if got.Settled() != settled {
		t.Errorf("settled at %q: got %t, want %t", want, got.Settled(), settled)
	}
}

func TestStateHangsOnTheTimeAsked(t *testing.T) {
	client := newClient(t)
	e := roomlinktest.Links("a", 1)
	e.Data.ExpiresAt = roomlinktest.Noon
	roomlinktest.PublishLinks(t, client, e, 0)
	for at, want := range map[time.Time]messages.Status{
		roomlinktest.Noon.Add(-time.Millisecond): messages.StatusReady,
		roomlinktest.Noon.Time:                   messages.StatusExpired,
	} {
		got, err := client.State(roomlinktest.Context(t), roomlinktest.Conversation("a"), at)
		if err != nil || got.Status != want {
			t.Errorf("state at %v: got %q and error %v, want %q", at, got.Status, err, want)
		}
	}
}

func TestStateOfAnImpossibleName(t *testing.T) {
	_, err := newClient(t).State(roomlinktest.Context(t), roomlinktest.Conversation("{{x}}"), time.Now())
	if !errors.Is(err, messages.ErrInvalid) {
		t.Errorf("state: got error %v, want %v", err, messages.ErrInvalid)
	}
}

package store_test

import (
	"errors"
	"testing"
	"time"

	"roomlink/internal/roomlinktest"
	"roomlink/internal/store"
	"roomlink/messages"
)

// step changes a conversation, as a part of roomlink does.
type step func(*testing.T, *store.Store)

const stateID = "a"

func stepEvent(t *testing.T, s *store.Store) {
	roomlinktest.Publish(t, s, roomlinktest.Started(stateID))
}

func stepRenewalEvent(t *testing.T, s *store.Store) {
	roomlinktest.Publish(t, s, roomlinktest.Renewal(stateID, 1))
}
func stepSettled(t *testing.T, s *store.Store) { roomlinktest.SettleNext(t, s) }
func stepLinks(t *testing.T, s *store.Store) {
	roomlinktest.PublishLinks(t, s, roomlinktest.Links(stateID, 1), linksSequence(t, s))
}

func stepExpiredLinks(t *testing.T, s *store.Store) {
	roomlinktest.PublishLinks(t, s, roomlinktest.ExpiredLinks(stateID), linksSequence(t, s))
}

func stepRevoked(t *testing.T, s *store.Store) {
	roomlinktest.PublishLinks(t, s, roomlinktest.RevokedLinks(stateID, 1), linksSequence(t, s))
}

func stepRenewed(t *testing.T, s *store.Store) {
	roomlinktest.PublishLinks(t, s, roomlinktest.Links(stateID, 2), linksSequence(t, s))
}

func stepDeadLetter(t *testing.T, s *store.Store) {
	publishDeadLetter(t, s, roomlinktest.DeadLetter(t, stateID))
}

// linksSequence returns the sequence of the latest links; 0 if there are none.
func linksSequence(t *testing.T, s *store.Store) uint64 {
	t.Helper()
	stored, err := s.Links(roomlinktest.Context(t), roomlinktest.Conversation(stateID), store.Leader)
	if err != nil && !errors.Is(err, messages.ErrNotFound) {
		t.Fatalf("reading the links: %v", err)
	}
	return stored.Sequence
}

func TestState(t *testing.T) {
	for name, test := range map[string]struct {
		steps             []step
		want              store.Status
		links, deadLetter bool
	}{
		"nothing":                                             {nil, store.StatusUnknown, false, false},
		"acknowledged without result":                         {[]step{stepEvent, stepSettled}, store.StatusUnknown, false, false},
		"waiting":                                             {[]step{stepEvent}, store.StatusPending, false, false},
		"waiting, links just stored":                          {[]step{stepEvent, stepLinks}, store.StatusReady, true, false},
		"waiting, older links":                                {[]step{stepLinks, stepEvent}, store.StatusReady, true, false},
		"waiting, expired links":                              {[]step{stepExpiredLinks, stepEvent}, store.StatusPending, true, false},
		"waiting, dead letter":                                {[]step{stepDeadLetter, stepEvent}, store.StatusPending, false, false},
		"waiting, links, then dead letter":                    {[]step{stepLinks, stepDeadLetter, stepEvent}, store.StatusReady, true, false},
		"waiting, expired links just stored":                  {[]step{stepEvent, stepExpiredLinks}, store.StatusExpired, true, false},
		"waiting, dead letter just stored":                    {[]step{stepEvent, stepDeadLetter}, store.StatusFailed, false, true},
		"waiting, dead letter just stored beside older links": {[]step{stepLinks, stepEvent, stepDeadLetter}, store.StatusFailed, true, true},
		"waiting after a dead letter and links":               {[]step{stepDeadLetter, stepExpiredLinks, stepEvent}, store.StatusPending, true, false},
		"links":                                               {[]step{stepEvent, stepLinks, stepSettled}, store.StatusReady, true, false},
		"expired links":                                       {[]step{stepExpiredLinks}, store.StatusExpired, true, false},
		"dead letter":                                         {[]step{stepEvent, stepDeadLetter, stepSettled}, store.StatusFailed, false, true},
		"failed renewal":                                      {[]step{stepLinks, stepDeadLetter}, store.StatusFailed, true, true},
		"failed renewal, expired links":                       {[]step{stepExpiredLinks, stepDeadLetter}, store.StatusFailed, true, true},
		"newer links":                                         {[]step{stepDeadLetter, stepLinks}, store.StatusReady, true, false},
		"newer links, expired":                                {[]step{stepDeadLetter, stepExpiredLinks}, store.StatusExpired, true, false},
		"revoked links":                                       {[]step{stepLinks, stepRevoked}, store.StatusRevoked, true, false},
		"waiting, revoked links":                              {[]step{stepLinks, stepRevoked, stepEvent}, store.StatusPending, true, false},
		"waiting, links just stored and revoked":              {[]step{stepEvent, stepLinks, stepRevoked}, store.StatusRevoked, true, false},
		"links stored, acknowledged and revoked":              {[]step{stepEvent, stepLinks, stepSettled, stepRevoked}, store.StatusRevoked, true, false},
		"revoked while a renewal waits":                       {[]step{stepLinks, stepRenewalEvent, stepRevoked}, store.StatusPending, true, false},
		"revoked, then the renewal that waited":               {[]step{stepLinks, stepRenewalEvent, stepRevoked, stepRenewed}, store.StatusReady, true, false},
		"revoked after a failed renewal":                      {[]step{stepLinks, stepDeadLetter, stepRevoked}, store.StatusRevoked, true, false},
		"failed renewal of revoked links":                     {[]step{stepLinks, stepRevoked, stepDeadLetter}, store.StatusFailed, true, true},
		"renewed after a revocation":                          {[]step{stepLinks, stepRevoked, stepRenewed}, store.StatusReady, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			for _, next := range test.steps {
				next(t, s)
			}
			got, err := s.State(roomlinktest.Context(t), roomlinktest.Conversation(stateID), time.Now())
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

func wantState(t *testing.T, got store.State, want store.Status) {
	t.Helper()
	if got.Status != want {
		t.Errorf("status: got %q, want %q", got.Status, want)
	}
	done := want != store.StatusPending && want != store.StatusUnknown
	if got.Done() != done {
		t.Errorf("done at status %q: got %t, want %t", want, got.Done(), done)
	}
}

func TestStateDependsOnTheTime(t *testing.T) {
	s := newStore(t)
	e := roomlinktest.Links("a", 1)
	e.Data.ExpiresAt = roomlinktest.Noon
	roomlinktest.PublishLinks(t, s, e, 0)
	for at, want := range map[time.Time]store.Status{
		roomlinktest.Noon.Add(-time.Millisecond): store.StatusReady,
		roomlinktest.Noon.Time:                   store.StatusExpired,
	} {
		got, err := s.State(roomlinktest.Context(t), roomlinktest.Conversation("a"), at)
		if err != nil || got.Status != want {
			t.Errorf("state at %v: got %q and error %v, want %q", at, got.Status, err, want)
		}
	}
}

func TestStateOfAnImpossibleConversation(t *testing.T) {
	_, err := newStore(t).State(roomlinktest.Context(t), roomlinktest.Conversation("{{x}}"), time.Now())
	if !errors.Is(err, messages.ErrInvalid) {
		t.Errorf("state: got error %v, want %v", err, messages.ErrInvalid)
	}
}

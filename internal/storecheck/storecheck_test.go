package storecheck_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"roomlink/internal/broker"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/store"
	"roomlink/internal/storecheck"
	"roomlink/messages"
)

// fixture is a data directory.
type fixture struct {
	t   *testing.T
	dir string
}

func newFixture(t *testing.T) fixture {
	t.Helper()
	return fixture{t, filepath.Join(t.TempDir(), "data")}
}

// run runs a broker with the streams on the directory, as a start does, and then use.
func (f fixture) run(use func(*store.Store, storecheck.Report)) {
	f.t.Helper()
	b, err := broker.Embed(roomlinktest.Context(f.t), broker.EmbeddedConfig{
		Dir: f.dir, Sync: time.Minute, Logger: zerolog.New(io.Discard),
	})
	if err != nil {
		f.t.Fatalf("starting a broker: %v", err)
	}
	defer b.Close()
	s := roomlinktest.Store(f.t, b)
	if err := store.Provision(roomlinktest.Context(f.t), s.JetStream(), store.StreamSettings{}); err != nil {
		f.t.Fatalf("providing the streams: %v", err)
	}
	report, err := storecheck.Settle(roomlinktest.Context(f.t), s.JetStream(), b.Findings(), zerolog.New(io.Discard))
	if err != nil {
		f.t.Fatalf("settling: %v", err)
	}
	use(s, report)
	marker := storecheck.NewMarker(f.dir, s.JetStream(), zerolog.New(io.Discard))
	marker.Close()
}

// fill stores events of the given conversations.
func (f fixture) fill(ids ...string) {
	f.t.Helper()
	f.run(func(s *store.Store, _ storecheck.Report) {
		for _, id := range ids {
			roomlinktest.Publish(f.t, s, roomlinktest.Started(id))
		}
	})
}

// block returns the path of the newest block of a stream.
func (f fixture) block(stream string) string {
	f.t.Helper()
	paths, err := filepath.Glob(filepath.Join(f.dir, "jetstream", "*", "streams", stream, "msgs", "*.blk"))
	if err != nil || len(paths) == 0 {
		f.t.Fatalf("blocks of %q: got %v and error %v, want some", stream, paths, err)
	}
	return paths[len(paths)-1]
}

// change changes the content of the newest block of a stream.
func (f fixture) change(stream string, change func([]byte) []byte) {
	f.t.Helper()
	path := f.block(stream)
	content, err := os.ReadFile(path)
	if err != nil {
		f.t.Fatalf("reading a block: %v", err)
	}
	write(f.t, path, change(content))
}

// record returns the offset and the size of the record with a subject.
func (f fixture) record(content []byte, subject string) (at, size int) {
	f.t.Helper()
	at = bytes.Index(content, []byte(subject)) - 22
	if at < 0 {
		f.t.Fatalf("record of %q: got none, want one", subject)
	}
	return at, int(binary.LittleEndian.Uint32(content[at:]) &^ (1 << 31))
}

// damage changes a byte of the body of the record with a subject.
func (f fixture) damage(stream, subject string) {
	f.t.Helper()
	f.change(stream, func(content []byte) []byte {
		at, size := f.record(content, subject)
		content[bytes.Index(content[at:at+size], []byte("contact-42"))+at] ^= 1
		return content
	})
}

func (f fixture) inspect() *storecheck.Findings {
	f.t.Helper()
	found, err := storecheck.Inspect(roomlinktest.Context(f.t), f.dir, func(storecheck.Progress) {})
	if err != nil {
		f.t.Fatalf("inspecting: %v", err)
	}
	return found
}

// wantState checks the state of a conversation.
func (f fixture) wantState(s *store.Store, id string, want store.Status) store.State {
	f.t.Helper()
	state, err := s.State(roomlinktest.Context(f.t), roomlinktest.Conversation(id), time.Now())
	if err != nil || state.Status != want {
		f.t.Errorf("state of %q: got %q and error %v, want %q", id, state.Status, err, want)
	}
	return state
}

func eventSubject(id string) string { return roomlinktest.Conversation(id).EventSubject() }

// TestIntact: the server's own blocks, with deletions and replaced messages, have no damage.
func TestIntact(t *testing.T) {
	f := newFixture(t)
	f.run(func(s *store.Store, _ storecheck.Report) {
		for i := range 50 {
			roomlinktest.Publish(t, s, roomlinktest.Started(fmt.Sprintf("call-%d", i)))
		}
		for range 20 {
			roomlinktest.SettleNext(t, s)
		}
		first := roomlinktest.PublishLinks(t, s, roomlinktest.Links("a", 1), 0)
		roomlinktest.PublishLinks(t, s, roomlinktest.Links("a", 2), first)
		queue, err := s.JetStream().Stream(roomlinktest.Context(t), messages.ConversationsStream)
		if err == nil {
			err = queue.SecureDeleteMsg(roomlinktest.Context(t), 30)
		}
		if err != nil {
			t.Fatalf("erasing an event: %v", err)
		}
	})
	found := f.inspect()
	if len(found.Damage) != 0 || found.Damaged() || len(found.Streams) != 3 {
		t.Fatalf("inspection: got %d damaged in %d streams, want none in 3", len(found.Damage), len(found.Streams))
	}
	if got := found.Streams[0]; got.Name != messages.ConversationsStream || got.Messages != 29 {
		t.Errorf("queue: got %d messages in %q, want 29", got.Messages, got.Name)
	}
}

// TestEveryByte changes each byte of an event and of links. The others stay whole, and the damaged one is
// named.
func TestEveryByte(t *testing.T) {
	f := newFixture(t)
	const id = "the one"
	f.run(func(s *store.Store, _ storecheck.Report) {
		for _, id := range []string{"before", id, "after"} {
			roomlinktest.Publish(t, s, roomlinktest.Started(id))
			roomlinktest.PublishLinks(t, s, roomlinktest.Links(id, 1), 0)
		}
	})
	for stream, subject := range map[string]string{
		messages.ConversationsStream: eventSubject(id),
		messages.LinksStream:         roomlinktest.Conversation(id).LinksSubject(),
	} {
		path := f.block(stream)
		intact, err := os.ReadFile(path)
		if err != nil {
			t.Fatalf("reading a block: %v", err)
		}
		at, size := f.record(intact, subject)
		for i := range size {
			content := bytes.Clone(intact)
			content[at+i] ^= 0x41
			write(t, path, content)
			found := f.inspect()
			if i < 4 && found.Damaged() && len(found.Damage) == 0 {
				continue // the length alone
			}
			if len(found.Damage) != 1 {
				t.Fatalf("byte %d of %s: got %+v, want one damaged message", i, stream, found.Damage)
			}
			if got := found.Damage[0]; got.Token != messages.Token(id) || got.Account != roomlinktest.Account ||
				got.Sequence != 2 || got.InteractionID != id {
				t.Fatalf("byte %d of %s: got %+v, want the damaged message", i, stream, got)
			}
		}
		write(t, path, intact)
	}
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatalf("writing a block: %v", err)
	}
}

// TestDamagedEvent damages each field of an event. The other events keep their sequences and times,
// and the damaged one becomes a dead letter.
func TestDamagedEvent(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		offset func(record []byte) int
		state  store.Status
	}{
		{"length", func([]byte) int { return 0 }, store.StatusPending},
		{"sequence", func([]byte) int { return 4 + 4 }, store.StatusFailed},
		{"flags of the sequence", func([]byte) int { return 11 }, store.StatusFailed},
		{"time", func([]byte) int { return 12 }, store.StatusFailed},
		{"length of the subject", func([]byte) int { return 20 }, store.StatusFailed},
		{"subject", func(r []byte) int { return bytes.Index(r, []byte("the-one")) }, store.StatusFailed},
		{"length of the header", func(r []byte) int { return bytes.Index(r, []byte("NATS/1.0")) - 4 }, store.StatusFailed},
		{"header", func(r []byte) int { return bytes.Index(r, []byte("NATS/1.0")) }, store.StatusFailed},
		{"body", func(r []byte) int { return bytes.Index(r, []byte("contact-42")) }, store.StatusFailed},
		{"checksum", func(r []byte) int { return len(r) - 1 }, store.StatusFailed},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.fill("before", "the-one", "after")
			f.change(messages.ConversationsStream, func(content []byte) []byte {
				at, size := f.record(content, eventSubject("the-one"))
				content[at+test.offset(content[at:at+size])] ^= 0x81
				return content
			})
			f.run(func(s *store.Store, report storecheck.Report) {
				if report.Count() != 0 {
					t.Errorf("missing: got %v, want none", report.Missing)
				}
				for id, sequence := range map[string]uint64{"before": 1, "after": 3} {
					f.wantState(s, id, store.StatusPending)
					event, err := s.Waiting(roomlinktest.Context(t), roomlinktest.Conversation(id))
					if err != nil || event.Sequence != sequence || time.Since(event.StoredAt) > time.Minute {
						t.Errorf("event %q: got sequence %d at %v and error %v, want %d", id, event.Sequence, event.StoredAt, err, sequence)
					}
				}
				state := f.wantState(s, "the-one", test.state)
				if test.state == store.StatusFailed && state.DeadLetter.Data.Reason != messages.ReasonUnreadable {
					t.Errorf("reason: got %q, want %q", state.DeadLetter.Data.Reason, messages.ReasonUnreadable)
				}
				if test.state == store.StatusFailed {
					roomlinktest.Publish(t, s, roomlinktest.Started("the-one"))
				}
			})
			wantNoCopies(t, f)
			f.run(func(s *store.Store, _ storecheck.Report) { f.wantState(s, "the-one", store.StatusPending) })
		})
	}
}

func wantNoCopies(t *testing.T, f fixture) {
	t.Helper()
	for _, name := range []string{"damaged", "lost.json"} {
		if _, err := os.Stat(filepath.Join(f.dir, name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: got error %v, want it to be gone", name, err)
		}
	}
}

// TestHashedToken: where the id itself is damaged, the token stands for it.
func TestHashedToken(t *testing.T) {
	f := newFixture(t)
	const id = "an id with spaces"
	f.fill("before", id)
	f.change(messages.ConversationsStream, func(content []byte) []byte {
		return bytes.ReplaceAll(content, []byte(id), []byte("an id with spaceX"))
	})
	f.run(func(s *store.Store, _ storecheck.Report) {
		state := f.wantState(s, id, store.StatusFailed)
		if got := state.DeadLetter; got == nil || got.Data.InteractionID != messages.Token(id) {
			t.Errorf("dead letter: got %+v, want the token as the id", got)
		}
	})
}

// TestOverwrittenBlock: a part with several events is overwritten. Nothing else is lost, and each event is
// named or counted.
func TestOverwrittenBlock(t *testing.T) {
	f := newFixture(t)
	var ids []string
	for i := range 20 {
		ids = append(ids, fmt.Sprintf("call-%d", i))
	}
	f.fill(ids...)
	f.change(messages.ConversationsStream, func(content []byte) []byte {
		clear(content[3000:5048])
		return content
	})
	f.run(func(s *store.Store, report storecheck.Report) {
		lost := 0
		for _, id := range ids {
			state, err := s.State(roomlinktest.Context(t), roomlinktest.Conversation(id), time.Now())
			if err != nil {
				t.Fatalf("state of %q: %v", id, err)
			}
			if state.Status == store.StatusPending || state.Status == store.StatusFailed {
				continue
			}
			lost++
			if !names(report, id) {
				t.Errorf("%q: got %v missing, want it named", id, report.Missing)
			}
		}
		if lost == 0 || lost > 5 {
			t.Errorf("lost events: got %d, want those in 2048 bytes", lost)
		}
	})
}

func names(report storecheck.Report, id string) bool {
	for _, lost := range report.Missing {
		if lost.Token == messages.Token(id) {
			return true
		}
	}
	return false
}

// TestRemovedBlock: the mark names the events of a block that is gone, until the loss is accepted.
func TestRemovedBlock(t *testing.T) {
	f := newFixture(t)
	f.fill("a", "b")
	if err := os.Remove(f.block(messages.ConversationsStream)); err != nil {
		t.Fatalf("removing a block: %v", err)
	}
	for range 2 { // the report lasts
		f.run(func(_ *store.Store, report storecheck.Report) {
			if !names(report, "a") || !names(report, "b") || report.Count() != 2 {
				t.Errorf("missing: got %v, want a and b", report.Missing)
			}
		})
	}
	if report, err := storecheck.Accept(f.dir); err != nil || report.Count() != 2 {
		t.Errorf("accepting: got %d missing and error %v, want 2", report.Count(), err)
	}
	f.run(func(s *store.Store, report storecheck.Report) {
		if report.Count() != 0 {
			t.Errorf("after acceptance: got %v missing, want none", report.Missing)
		}
		roomlinktest.Publish(t, s, roomlinktest.Started("a"))
	})
}

// TestDamagedLinks: damaged links are missing. Those that they replaced stay away, even though the
// damaged ones were a revocation.
func TestDamagedLinks(t *testing.T) {
	f := newFixture(t)
	f.run(func(s *store.Store, _ storecheck.Report) {
		first := roomlinktest.PublishLinks(t, s, roomlinktest.Links("revoked", 1), 0)
		roomlinktest.PublishLinks(t, s, roomlinktest.Links("whole", 1), 0)
		roomlinktest.PublishLinks(t, s, roomlinktest.RevokedLinks("revoked", 1), first)
	})
	f.change(messages.LinksStream, func(content []byte) []byte {
		at := bytes.LastIndex(content, []byte("contact-42"))
		content[at] ^= 1
		return content
	})
	f.run(func(s *store.Store, report storecheck.Report) {
		f.wantState(s, "revoked", store.StatusUnknown)
		f.wantState(s, "whole", store.StatusReady)
		if !names(report, "revoked") || report.Count() != 1 || len(report.Copies) != 1 {
			t.Errorf("report: got %+v, want the revoked links and a copy", report)
		}
	})
	report, err := storecheck.Accept(f.dir)
	if err != nil || report.Count() != 1 {
		t.Errorf("accepting: got %v and error %v, want 1 missing", report, err)
	}
	wantNoCopies(t, f)
}

// TestDoneEvent: a damaged event whose work is done, or which was deleted, is not missing.
func TestDoneEvent(t *testing.T) {
	f := newFixture(t)
	f.fill("deleted", "linked", "waiting")
	f.run(func(s *store.Store, _ storecheck.Report) {
		roomlinktest.SettleNext(t, s)
		// Its acknowledgement was lost in the kill.
		roomlinktest.PublishLinks(t, s, roomlinktest.Links("linked", 1), 0)
	})
	f.damage(messages.ConversationsStream, eventSubject("deleted"))
	f.damage(messages.ConversationsStream, eventSubject("linked"))
	f.run(func(s *store.Store, report storecheck.Report) {
		if report.Count() != 0 {
			t.Errorf("missing: got %v, want none", report.Missing)
		}
		f.wantState(s, "linked", store.StatusReady)
		f.wantState(s, "deleted", store.StatusUnknown)
		f.wantState(s, "waiting", store.StatusPending)
	})
}

// TestDamagedDeletion: the deletion of an event is damaged. The event comes back.
func TestDamagedDeletion(t *testing.T) {
	f := newFixture(t)
	f.fill("a", "b")
	f.run(func(s *store.Store, _ storecheck.Report) { roomlinktest.SettleNext(t, s) })
	f.change(messages.ConversationsStream, func(content []byte) []byte {
		content[len(content)-1] ^= 1
		return content
	})
	f.run(func(s *store.Store, report storecheck.Report) {
		if report.Count() != 0 {
			t.Errorf("missing: got %v, want none", report.Missing)
		}
		f.wantState(s, "a", store.StatusPending)
		f.wantState(s, "b", store.StatusPending)
	})
}

// TestBrokenOffStart: a start ends between the repair and the dead letter. The next one goes on.
func TestBrokenOffStart(t *testing.T) {
	f := newFixture(t)
	f.fill("a", "b")
	f.damage(messages.ConversationsStream, eventSubject("a"))
	for range 2 {
		if err := f.inspect().Repair(zerolog.New(io.Discard)); err != nil {
			t.Fatalf("repairing: %v", err)
		}
	}
	report, err := storecheck.ReadReport(f.dir)
	if err != nil || len(report.Damaged) != 1 {
		t.Errorf("report: got %+v and error %v, want one damaged event", report, err)
	}
	f.run(func(s *store.Store, report storecheck.Report) {
		f.wantState(s, "a", store.StatusFailed)
		f.wantState(s, "b", store.StatusPending)
		if report.Count() != 0 {
			t.Errorf("missing: got %v, want none", report.Missing)
		}
	})
}

// TestTornTail: a write that broke off is told and nothing is missing.
func TestTornTail(t *testing.T) {
	f := newFixture(t)
	f.fill("a", "b")
	f.change(messages.ConversationsStream, func(content []byte) []byte {
		return append(content, content[:100]...)
	})
	found := f.inspect()
	if got := found.Streams[0]; got.Torn != 100 || got.Damaged != 0 {
		t.Errorf("inspection: got %d bytes torn and %d damaged, want 100 and 0", got.Torn, got.Damaged)
	}
	var log bytes.Buffer
	if err := found.Repair(zerolog.New(&log)); err != nil || !strings.Contains(log.String(), "broke off") {
		t.Errorf("repair: got error %v and the log %q, want a line on the write that broke off", err, log.String())
	}
	f.run(func(s *store.Store, report storecheck.Report) {
		f.wantState(s, "a", store.StatusPending)
		f.wantState(s, "b", store.StatusPending)
		if report.Count() != 0 {
			t.Errorf("missing: got %v, want none", report.Missing)
		}
	})
}

// TestUnknownFormat: blocks in which nothing is a record are left alone.
func TestUnknownFormat(t *testing.T) {
	f := newFixture(t)
	f.fill("a")
	f.change(messages.ConversationsStream, func([]byte) []byte { return bytes.Repeat([]byte("x"), 100<<10) })
	found := f.inspect()
	if found.Damaged() || found.Streams[0].Unread == "" {
		t.Errorf("inspection: got damage %v, want the blocks unread", found.Damage)
	}
}

// TestDeadline: what the time does not reach is unread.
func TestDeadline(t *testing.T) {
	f := newFixture(t)
	f.fill("a")
	ctx, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	found, err := storecheck.Inspect(ctx, f.dir, func(storecheck.Progress) {})
	if err != nil || found.Streams[0].Unread == "" {
		t.Errorf("inspection after its deadline: got %+v and error %v, want unread blocks", found, err)
	}
}

// TestMark: the mark follows the queue.
func TestMark(t *testing.T) {
	f := newFixture(t)
	f.fill("a", "b")
	f.run(func(s *store.Store, _ storecheck.Report) { roomlinktest.SettleNext(t, s) })
	text, err := os.ReadFile(filepath.Join(f.dir, "waiting.json"))
	if err != nil || strings.Contains(string(text), `"acme.a"`) || !strings.Contains(string(text), `"acme.b"`) {
		t.Errorf("mark: got %s and error %v, want b alone", text, err)
	}
	if info, err := os.Stat(filepath.Join(f.dir, "waiting.json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mark: got mode %v and error %v, want 0600", info.Mode(), err)
	}
}

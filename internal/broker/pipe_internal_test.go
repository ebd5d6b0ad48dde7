package broker

import (
	"bytes"
	"errors"
	"net"
	"os"
	"testing"
	"time"
)

// newPipe returns both ends of a pipe, which end with the test.
func newPipe(t *testing.T) (*pipe, net.Conn) {
	t.Helper()
	ours, theirs := net.Pipe()
	t.Cleanup(func() {
		_ = ours.Close()
		_ = theirs.Close()
	})
	return &pipe{Conn: ours}, theirs
}

func TestPipeWritesInPieces(t *testing.T) {
	ours, theirs := newPipe(t)
	sent := bytes.Repeat([]byte("0123456789"), mostWritten)
	done := make(chan error, 1)
	go func() {
		n, err := ours.Write(sent)
		if err == nil && n != len(sent) {
			err = errors.New("wrote less than all")
		}
		done <- err
	}()
	var got []byte
	buffer := make([]byte, len(sent))
	for len(got) < len(sent) {
		n, err := theirs.Read(buffer)
		if err != nil {
			t.Fatalf("reading: %v", err)
		}
		if n > mostWritten {
			t.Errorf("a piece: got %d bytes, want at most %d", n, mostWritten)
		}
		got = append(got, buffer[:n]...)
	}
	if err := <-done; err != nil || !bytes.Equal(got, sent) {
		t.Errorf("writing %d bytes: got error %v and other bytes %v, want none", len(sent), err, !bytes.Equal(got, sent))
	}
}

// TestPipeDeadlineStays has the deadline of a write be that of the next ones too.
func TestPipeDeadlineStays(t *testing.T) {
	ours, theirs := newPipe(t)
	past := time.Now().Add(-time.Minute)
	for _, deadline := range []time.Time{past, {}, past.Add(writeTimeout / 4)} {
		if err := ours.SetWriteDeadline(deadline); err != nil {
			t.Fatalf("setting a deadline: %v", err)
		}
		if _, err := ours.Write([]byte("nobody reads")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("writing after %v was set: got error %v, want a deadline that has passed", deadline, err)
		}
	}
	if err := ours.SetWriteDeadline(time.Now().Add(time.Hour)); err != nil {
		t.Fatalf("setting a deadline: %v", err)
	}
	go func() { _, _ = theirs.Read(make([]byte, 64)) }()
	if _, err := ours.Write([]byte("read")); err != nil {
		t.Errorf("writing before a later deadline: got error %v, want none", err)
	}
}

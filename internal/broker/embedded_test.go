package broker_test

import (
	"bytes"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"roomlink/internal/broker"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/store"
	"roomlink/messages"
)

func TestDataDirectoryIsLocked(t *testing.T) {
	dir := t.TempDir()
	b := embed(t, config(dir))
	if _, err := broker.Embed(roomlinktest.Context(t), config(dir)); !errors.Is(err, broker.ErrLocked) || !strings.Contains(err.Error(), dir) {
		t.Errorf("a second broker: got error %v, want %v that contains the directory", err, broker.ErrLocked)
	}
	if err := b.Health(); err != nil {
		t.Errorf("health of the first broker: got error %v, want none", err)
	}
	b.Close()
	b.Close()
	embed(t, config(dir))
}

func TestMessagesSurviveRestart(t *testing.T) {
	f := newFixture(t)
	publishLinks(t, f.parts, "acme", "a")
	if _, err := f.parts.Publish(roomlinktest.Context(t), roomlinktest.Started("b")); err != nil {
		t.Fatalf("publishing an event: %v", err)
	}
	publishDeadLetter(t, f.parts, "acme", "c")
	f.Close()
	client := roomlinktest.Store(t, embed(t, config(f.dir)))
	for id, want := range map[string]store.Status{
		"a": store.StatusReady, "b": store.StatusPending, "c": store.StatusFailed,
	} {
		state, err := client.State(roomlinktest.Context(t), conversation("acme", id), roomlinktest.Noon.Time)
		if err != nil || state.Status != want {
			t.Errorf("state of %q: got %q and error %v, want %q", id, state.Status, err, want)
		}
	}
}

func TestSyncAlways(t *testing.T) {
	c := config(t.TempDir())
	c.Sync = 0
	b := roomlinktest.StartBrokerWith(t, c, store.StreamSettings{})
	publishLinks(t, roomlinktest.Store(t, b), "acme", "a")
}

func TestDamagedStream(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, stream string){
		"no metadata": func(t *testing.T, stream string) {
			remove(t, filepath.Join(stream, "meta.inf"))
			remove(t, filepath.Join(stream, "meta.sum"))
		},
		"no checksum": func(t *testing.T, stream string) { remove(t, filepath.Join(stream, "meta.sum")) },
		"damaged metadata": func(t *testing.T, stream string) {
			write(t, filepath.Join(stream, "meta.inf"), []byte("{}"))
		},
		"empty metadata": func(t *testing.T, stream string) {
			write(t, filepath.Join(stream, "meta.inf"), nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			publishLinks(t, f.parts, "acme", "a")
			f.Close()
			stream := filepath.Join(f.dir, "jetstream", "ROOMLINK", "streams", messages.LinksStream)
			intact := files(t, stream)
			damage(t, stream)
			damaged := files(t, stream)

			b, err := broker.Embed(roomlinktest.Context(t), config(f.dir))
			if !errors.Is(err, broker.ErrStore) || !strings.Contains(err.Error(), messages.LinksStream) {
				t.Fatalf("embedding: got %v and error %v, want %v that contains the stream", b, err, broker.ErrStore)
			}
			wantFiles(t, stream, damaged)

			// After an administrator has restored the files, every message is there.
			for path, content := range intact {
				write(t, path, content)
			}
			client := roomlinktest.Store(t, embed(t, config(f.dir)))
			if _, err := client.Links(roomlinktest.Context(t), conversation("acme", "a"), store.Leader); err != nil {
				t.Errorf("links: got error %v, want none", err)
			}
		})
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatalf("removing: %v", err)
	}
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatalf("writing: %v", err)
	}
}

// files returns the contents of the files in a directory, by path.
func files(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	found := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			found[path], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil || len(found) == 0 {
		t.Fatalf("reading %q: got %d files and error %v, want some", dir, len(found), err)
	}
	return found
}

func wantFiles(t *testing.T, dir string, want map[string][]byte) {
	t.Helper()
	got := files(t, dir)
	for path, content := range want {
		if !bytes.Equal(got[path], content) {
			t.Errorf("file %q: got %d bytes, want the %d from before", path, len(got[path]), len(content))
		}
	}
}

func TestUnusableDirectories(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	write(t, file, nil)
	store := filepath.Join(dir, "store")
	if err := os.Mkdir(store, 0o700); err != nil {
		t.Fatalf("making a directory: %v", err)
	}
	write(t, filepath.Join(store, "jetstream"), []byte("not a directory"))
	for what, test := range map[string]struct{ path, named string }{
		"a file":                 {file, file},
		"below a file":           {filepath.Join(file, "data"), file},
		"a file named jetstream": {store, store},
	} {
		b, err := broker.Embed(roomlinktest.Context(t), config(test.path))
		if err == nil || !strings.Contains(err.Error(), test.named) {
			t.Errorf("embedding in %s: got %v and error %v, want one that contains %q", what, b, err, test.named)
		}
	}
}

func TestAddressInUse(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listening: %v", err)
	}
	defer listener.Close()
	c := config(t.TempDir())
	c.Listen = listener.Addr().String()
	_, err = broker.Embed(roomlinktest.Context(t), c)
	if err == nil || errors.Is(err, broker.ErrStore) ||
		!strings.Contains(err.Error(), "in use") || !strings.Contains(err.Error(), c.Listen) {
		t.Errorf("embedding: got error %v, want one that says %s is in use", err, c.Listen)
	}
	c.Listen = broker.ListenOff
	embed(t, c)
}

func TestListen(t *testing.T) {
	for _, listen := range []string{"nonsense", "127.0.0.1:nats", ":"} {
		c := config(t.TempDir())
		c.Listen = listen
		if _, err := broker.Embed(roomlinktest.Context(t), c); err == nil || !strings.Contains(err.Error(), listen) {
			t.Errorf("listening on %q: got error %v, want one that contains it", listen, err)
		}
	}
	for _, listen := range []string{"", broker.ListenOff} {
		c := config(t.TempDir())
		c.Listen = listen
		b := embed(t, c)
		if got := b.Address(); got != "" || !b.Embedded() {
			t.Errorf("address with %q: got %q, embedded %t, want none, true", listen, got, b.Embedded())
		}
		if _, err := b.Connect(broker.RoleWorker, "test"); err != nil {
			t.Errorf("connecting with %q: got error %v, want none", listen, err)
		}
	}
}

func TestHealth(t *testing.T) {
	f := newFixture(t)
	if err := f.Health(); err != nil {
		t.Errorf("health: got error %v, want none", err)
	}
	f.parts.JetStream().Conn().Close()
	if err := f.Health(); !errors.Is(err, broker.ErrUnhealthy) || !strings.Contains(err.Error(), "not connected to the embedded broker since ") {
		t.Errorf("health without a connection: got error %v, want %v that says so", err, broker.ErrUnhealthy)
	}
}

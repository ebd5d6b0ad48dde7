package broker

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// A stream may be made again only if this server had it and somebody deleted it.
func TestMayRemake(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	dir := t.TempDir()
	b, err := Embed(ctx, EmbeddedConfig{Dir: dir, Sync: time.Minute})
	if err != nil {
		t.Fatalf("embedding: %v", err)
	}
	defer b.Close()
	js, err := b.Connect(RoleProvisioner, "test")
	if err != nil {
		t.Fatalf("connecting: %v", err)
	}
	wants := func(what, stream string, want bool) {
		t.Helper()
		if got := b.MayRemake(stream); got != want {
			t.Errorf("%s: got %t, want %t", what, got, want)
		}
	}
	for _, name := range []string{"KEPT", "DELETED", "LOST"} {
		if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: name, Subjects: []string{name}}); err != nil {
			t.Fatalf("making stream %q: %v", name, err)
		}
	}
	if err := b.Health(); err != nil {
		t.Fatalf("health: %v", err)
	}
	if err := js.DeleteStream(ctx, "DELETED"); err != nil {
		t.Fatalf("deleting: %v", err)
	}
	for len(b.embedded.streamFolders(".DELETED")) > 0 && ctx.Err() == nil {
		runtime.Gosched() // the server deletes it in the background
	}
	wants("a deleted stream", "DELETED", true)
	wants("a stream that is there", "KEPT", false)
	wants("a stream that never was", "UNKNOWN", false)

	// A restart is another life of the server: it does not know what is gone.
	if err := os.RemoveAll(b.embedded.streamFolders("LOST")[0]); err != nil {
		t.Fatalf("removing: %v", err)
	}
	if err := b.embedded.restart(ctx); err != nil {
		t.Fatalf("restarting: %v", err)
	}
	wants("a stream that was deleted before the restart", "DELETED", false)
	wants("a stream that the restart did not find", "LOST", false)

	// A folder without a stream is never made again.
	left := filepath.Join(filepath.Dir(b.embedded.streamFolders("KEPT")[0]), "LEFT")
	if err := os.Mkdir(left, 0o700); err != nil {
		t.Fatalf("making a folder: %v", err)
	}
	b.embedded.rememberStreams()
	wants("a stream whose folder is there", "LEFT", false)
	if err := b.embedded.health(); err != nil {
		t.Errorf("health with a folder that is no stream: got error %v, want none: a restart would harm", err)
	}
	if err := b.embedded.restart(ctx); err == nil {
		t.Error("restarting with a folder that is no stream: got no error, want a refusal")
	}
}

package broker

import (
	"path/filepath"
	"strings"
)

// streamFolders returns the folders of streams in the store, by a pattern of their name. The
// server puts a dot before the name of a folder that it deletes.
func (e *embedded) streamFolders(name string) []string {
	found, _ := filepath.Glob(filepath.Join(e.dir, "jetstream", "*", "streams", name)) // the pattern is ours
	return found
}

// rememberStreams notes the streams in the store. Call it when the server has recovered them.
func (e *embedded) rememberStreams() {
	e.streamsMu.Lock()
	defer e.streamsMu.Unlock()
	for _, folder := range e.streamFolders("*") {
		if name := filepath.Base(folder); !strings.HasPrefix(name, ".") {
			e.streams[name] = true
		}
	}
}

func (e *embedded) forgetStreams() {
	e.streamsMu.Lock()
	defer e.streamsMu.Unlock()
	e.streams = map[string]bool{}
}

// MayRemake reports whether a stream that the embedded server does not have may be made again:
// if this server had it in its present life, and its folder is gone. Then somebody deleted it. In
// all other cases it was not recovered, and making it could delete what is left of it. For an
// external broker nobody knows, and MayRemake returns true.
func (b *Broker) MayRemake(stream string) bool {
	if b.embedded == nil {
		return true
	}
	b.embedded.streamsMu.Lock()
	defer b.embedded.streamsMu.Unlock()
	return b.embedded.streams[stream] && len(b.embedded.streamFolders(stream)) == 0 &&
		len(b.embedded.streamFolders("."+stream)) == 0
}

// Package openapi describes the public HTTP of roomlink to programs: one
// OpenAPI 3.1 document with every endpoint, every field and every error code,
// which roomlink itself answers at /openapi.json.
//
// # Guarantees
//
// The schemas of the document take every example in it, and the room's request is
// that of the webhook; tests hold it to both. Nothing in it depends on how a
// process is configured, and it tells nothing of one.
package openapi

import (
	_ "embed"
	"io"
	"net/http"
	"strconv"

	"github.com/go-chi/chi/v5"
)

// path is where the document is.
const path = "/openapi.json"

// keepFor says how long the document may be kept: it changes with the program
// alone.
const keepFor = "public, max-age=3600"

// document is a string, so that nobody can write to it.
//
//go:embed openapi.json
var document string

// Document returns the OpenAPI document, as JSON.
func Document() []byte { return []byte(document) }

// Handler answers with the document.
func Handler() http.HandlerFunc {
	length := strconv.Itoa(len(document))
	return func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Type", "application/json")
		header.Set("Content-Length", length)
		header.Set("Cache-Control", keepFor)
		header.Set("X-Content-Type-Options", "nosniff")
		if r.Method == http.MethodHead {
			return
		}
		_, _ = io.WriteString(w, document) // a client that is gone hears nothing
	}
}

// Routes adds the document to a router.
func Routes(router chi.Router) {
	handler := Handler()
	router.Get(path, handler)
	router.Head(path, handler)
}

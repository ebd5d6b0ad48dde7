// Package openapi contains the OpenAPI 3.1 document of the public HTTP endpoints and serves it
// at /openapi.json. The document describes every endpoint, field and error code.
//
// # Guarantees
//
// Tests check that the examples match the schemas and that the room request equals that of the
// webhook. The document does not depend on the configuration of a process and reveals nothing
// about it.
package openapi

import (
	_ "embed"
	"io"
	"net/http"
	"strconv"

	"github.com/go-chi/chi/v5"
)

const path = "/openapi.json"

// cacheControl allows caching, because the document only changes with the program.
const cacheControl = "public, max-age=3600"

// document is a string, so that it is immutable.
//
//go:embed openapi.json
var document string

// Document returns the OpenAPI document, as JSON.
func Document() []byte { return []byte(document) }

// handler serves the document.
func handler() http.HandlerFunc {
	length := strconv.Itoa(len(document))
	return func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Type", "application/json")
		header.Set("Content-Length", length)
		header.Set("Cache-Control", cacheControl)
		header.Set("X-Content-Type-Options", "nosniff")
		if r.Method == http.MethodHead {
			return
		}
		_, _ = io.WriteString(w, document) // nobody to tell if the client is gone
	}
}

// Routes adds the document to a router.
func Routes(router chi.Router) {
	handler := handler()
	router.Get(path, handler)
	router.Head(path, handler)
}

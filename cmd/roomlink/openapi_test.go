package main

import (
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/rs/zerolog"

	"roomlink/internal/access"
	"roomlink/internal/openapi"
	"roomlink/internal/programtest"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/store"
	"roomlink/messages"
	"roomlink/viewer"
	"roomlink/webhook"
)

// TestOpenAPIRoutes holds the document to the handlers: each route of ours is in
// it with its method, and nothing else is.
func TestOpenAPIRoutes(t *testing.T) {
	router := chi.NewRouter()
	client := roomlinktest.Store(t, roomlinktest.StartBroker(t))
	keys, err := access.NewKeys(programtest.LinkKey)
	if err != nil {
		t.Fatal(err)
	}
	pages := access.Pages{Keys: keys, BaseURL: "https://x.example", Lifetime: time.Hour}
	feed := store.NewFeed(client)
	webhook.New(webhook.Config{Store: client, Feed: feed, Pages: pages}).Routes(router)
	viewer.New(viewer.Config{Store: client, Feed: feed, Pages: pages, Logger: zerolog.New(io.Discard)}).Routes(router)
	openapi.Routes(router)

	parameter := regexp.MustCompile(`\{[^}]*\}`)
	var served, documented []string
	err = chi.Walk(router, func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		served = append(served, method+" "+parameter.ReplaceAllString(route, "{}"))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var document struct {
		Paths map[string]map[string]json.RawMessage `json:"paths"`
	}
	if err := json.Unmarshal(openapi.Document(), &document); err != nil {
		t.Fatal(err)
	}
	for path, operations := range document.Paths {
		for method := range operations {
			if slices.Contains([]string{"get", "head", "post", "put", "delete"}, method) {
				documented = append(documented, strings.ToUpper(method)+" "+parameter.ReplaceAllString(path, "{}"))
			}
		}
	}
	slices.Sort(served)
	slices.Sort(documented)
	if !slices.Equal(served, documented) {
		t.Errorf("routes:\nserved     %q\ndocumented %q", served, documented)
	}
}

// TestGuideVariables holds the variables that the guides name to the settings.
func TestGuideVariables(t *testing.T) {
	guides, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(guides) == 0 {
		t.Fatalf("guides: got %d and error %v, want some", len(guides), err)
	}
	known := strings.Join(settingRows(t), "\n")
	for _, guide := range guides {
		text := readFile(t, guide)
		for _, name := range regexp.MustCompile(`ROOMLINK_[A-Z_]*[A-Z]`).FindAllString(text, -1) {
			stem := strings.TrimSuffix(name, "_FILE")
			if !strings.Contains(known, stem) && !isStream(name) {
				t.Errorf("%s has %s, which the program does not know", filepath.Base(guide), name)
			}
		}
	}
}

func isStream(name string) bool {
	return slices.Contains([]string{messages.ConversationsStream, messages.LinksStream, messages.DeadLettersStream}, name)
}

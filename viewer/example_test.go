package viewer_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"time"

	"roomlink/internal/access"
	"roomlink/internal/accounts"
	"roomlink/internal/broker"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/store"
	"roomlink/internal/web"
	"roomlink/viewer"
)

// exampleStore returns a store on the embedded broker, with the links of one conversation.
func exampleStore(ctx context.Context) (s *store.Store, stop func()) {
	dir, err := os.MkdirTemp("", "roomlink")
	if err != nil {
		log.Fatal(err)
	}
	b, err := broker.Embed(ctx, broker.EmbeddedConfig{Dir: dir, Sync: time.Minute})
	if err != nil {
		log.Fatal(err)
	}
	js, err := b.Connect(broker.RoleProvisioner, "example")
	if err != nil {
		log.Fatal(err)
	}
	if err := store.Provision(ctx, js, store.StreamSettings{}); err != nil {
		log.Fatal(err)
	}
	s = store.New(js)
	if _, err := s.PublishLinks(ctx, roomlinktest.Links("conversation-17", 1), 0); err != nil {
		log.Fatal(err)
	}
	return s, func() {
		s.Close()
		b.Close()
		_ = os.RemoveAll(dir)
	}
}

// A canvas flow asks for the links of a conversation. The customer opens their link, and clicks the button.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	s, stop := exampleStore(ctx)
	defer stop()

	keys, err := access.NewKeys("an invented key of at least 32 bytes")
	if err != nil {
		log.Fatal(err)
	}
	all := []accounts.Account{{Name: "acme", Talkdesk: accounts.Talkdesk{Credentials: accounts.Credentials{
		APIKeys: []accounts.APIKey{{Name: "canvas", Key: "an invented API key"}},
	}}}}
	authenticator, err := access.NewAuthenticator(access.Config{Keys: keys, Accounts: all})
	if err != nil {
		log.Fatal(err)
	}
	router := web.NewRouter()
	viewer.New(viewer.Config{
		Store: s, Feed: store.NewFeed(s), Authenticator: authenticator, Accounts: all,
		Pages: access.Pages{Keys: keys, BaseURL: "https://rooms.example", Lifetime: time.Hour},
	}).Routes(router)

	call := func(method, address string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(ctx, method, address, nil)
		r.Header.Set("X-API-Key", "an invented API key")
		w := httptest.NewRecorder()
		router.ServeHTTP(w, r)
		return w
	}
	var links struct {
		Status      string `json:"status"`
		AgentURL    string `json:"agentUrl"`
		CustomerURL string `json:"customerUrl"`
	}
	if err := json.Unmarshal(call(http.MethodGet, "/links/conversation-17").Body.Bytes(), &links); err != nil {
		log.Fatal(err)
	}
	fmt.Println(links.Status, links.AgentURL)
	fmt.Println(call(http.MethodGet, links.CustomerURL).Code)
	click := call(http.MethodPost, links.CustomerURL)
	fmt.Println(click.Code, click.Header().Get("Location"))
	// Output:
	// ready https://video.example/agent
	// 200
	// 303 https://video.example/t/invented-ticket
}

package viewer_test

import (
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
)

var _ http.Handler = (*frames)(nil)

// frames is a site that shows another one in a frame, as Talkdesk's Workspace does.
type frames struct{ server *httptest.Server }

func (f *frames) start() { f.server = httptest.NewTLSServer(f) }

// ServeHTTP answers with a page that has the address ?card= in a frame.
func (f *frames) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(w, `<!doctype html><html lang="en"><title>Workspace</title><link rel="icon" href="data:,">
<style>body{margin:0}iframe{border:0;width:100%%;height:600px}</style><iframe src="%s" title="Card"></iframe>`,
		html.EscapeString(r.URL.Query().Get("card")))
}

package viewer_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"roomlink/internal/programtest"
	"roomlink/internal/roomlinktest"
)

// nginxConf is what Debian's nginx.conf sets for HTTP, with one site that passes everything on. Nothing else
// differs from nginx' defaults: it speaks HTTP/1.0 to the server, buffers answers, waits 60 s for a read, and
// sends the server's own address as Host.
const nginxConf = `
daemon off;
master_process off;
pid %[1]s/nginx.pid;
error_log /dev/null;
events { worker_connections 768; }
http {
	access_log off;
	client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s; uwsgi_temp_path %[1]s; scgi_temp_path %[1]s;
	sendfile on;
	tcp_nopush on;
	gzip on;
	server {
		listen %[2]s;
		location / { proxy_pass %[3]s; }
	}
}
`

// startNginx runs an nginx in front of a server and returns its address.
func startNginx(tb testing.TB, server string) string {
	tb.Helper()
	path, err := exec.LookPath("nginx")
	if err != nil {
		if path, err = exec.LookPath("/usr/sbin/nginx"); err != nil {
			programtest.Skipf(tb, "there is no nginx: %v", err)
		}
	}
	dir, address := tb.TempDir(), programtest.FreeAddress(tb)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, nginxConf, dir, address, server), 0o600); err != nil {
		tb.Fatalf("writing a configuration: %v", err)
	}
	programtest.Start(tb, programtest.Command{Path: path, Args: []string{"-e", "/dev/null", "-p", dir, "-c", file}})
	for end := roomlinktest.Context(tb); ; {
		if status, _ := programtest.Visit(tb, "http://"+address+"/assets/card.js"); status == http.StatusOK {
			return "http://" + address
		}
		if end.Err() != nil {
			tb.Fatal("nginx does not answer")
		}
	}
}

// behindNginx returns the base URL of a site behind nginx.
func behindNginx(t *testing.T, s *site) string { return startNginx(t, s.url) }

// A browser without Sec-Fetch-Site says by Origin where it comes from, which is not the Host that nginx sends.
func TestButtonsBehindNginx(t *testing.T) {
	s := newSite(t)
	base := startNginx(t, s.url)
	s.links(t, roomlinktest.Conversation("a"))
	pages := s.pagesOf("a")
	for _, origin := range []string{base, "https://rooms.example", "null"} {
		customer := strings.Replace(pages.Customer, s.url, base, 1)
		s.do(t, http.MethodPost, customer, with("Origin", origin)).wantRedirect(t, http.StatusSeeOther, ticketURL)
		card := strings.Replace(pages.Card, s.url, base, 1)
		if got := s.do(t, http.MethodPost, card+"/renew", with("Origin", origin)); got.Status != http.StatusAccepted && got.Status != http.StatusOK {
			t.Errorf("New room: got %d %s, want 202 or 200", got.Status, got.Body)
		}
	}
}

// The card follows its conversation behind nginx, and says when nginx is gone and when it is back.
func TestBrowserBehindNginx(t *testing.T) {
	t.Parallel() // it mostly waits
	p := newProgram(t, "ROOMLINK_LISTEN="+programtest.FreeAddress(t))
	base := startNginx(t, p.url)
	p.hold(t, "a", asUsual)
	p.start(t, "a")
	browser := newTab(t, look{})
	browser.goTo(strings.Replace(p.pages(t, "a").Card, p.url, base, 1))
	browser.untilStatus("pending")
	browser.stay()
	p.Kill()
	browser.untilText("#lost", "Connection lost")
	p.says("a", asUsual)
	p.run(t)
	browser.untilStatus("ready")
	browser.untilText("#lost", "Connected again")
	browser.until("document.querySelector('#lost').textContent === ''")
	browser.forget() // the browser reported the answers of nginx
	browser.click("#renew")
	browser.click("#confirm")
	browser.untilText("#note", "The new room is ready")
	browser.stayed()
	browser.wantQuiet(base)
}

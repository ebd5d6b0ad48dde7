package accounts_test

import (
	"slices"
	"testing"

	"roomlink/internal/accounts"
)

func TestParseURLBase(t *testing.T) {
	for text, want := range map[string]string{
		"auvious.video":                  "https://auvious.video",
		"https://auvious.video":          "https://auvious.video",
		"https://auvious.video/":         "https://auvious.video/",
		"HTTPS://Auvious.Video.":         "https://auvious.video",
		"http://auvious.video:8080/x":    "http://auvious.video:8080/x",
		"eu.auvious.video:8443":          "https://eu.auvious.video:8443",
		"localhost":                      "https://localhost",
		"http://auvious_1:8081":          "http://auvious_1:8081",
		"[::1]:8080":                     "https://[::1]:8080",
		"127.0.0.1:8080":                 "https://127.0.0.1:8080",
		"bücher.example":                 "https://xn--bcher-kva.example",
		"https://BÜCHER.example:8443/x":  "https://xn--bcher-kva.example:8443/x",
		"https://auvious。video":          "https://auvious.video",
		"https://b%C3%BCcher.example":    "https://xn--bcher-kva.example",
		"https://xn--bcher-kva.example":  "https://xn--bcher-kva.example",
		"https://παράδειγμα.example/a/b": "https://xn--hxajbheg2az3al.example/a/b",
	} {
		for _, text := range []string{text, " " + text + "\n"} {
			got, err := accounts.ParseURLBase(text)
			if err != nil || got.String() != want {
				t.Errorf("%q: got %v and error %v, want %s", text, got, err, want)
			}
		}
	}
	for _, text := range []string{
		"", " ", "https:/auvious.video", "https//auvious.video", "https:auvious.video", "https:///auvious.video",
		"https://https://auvious.video", "http:/auvious.video", "//auvious.video", "/auvious.video", "https://", "https://:443",
		"https://auvious.video:", "htps://auvious.video", "ftp://auvious.video", "javascript:alert(1)", "auvious,video",
		"https://auvious,video", "https://auvious..video", "https://.auvious.video", "https://auvious video", `https:\\auvious.video`,
		"auvious", "talkdesk", "null", "undefined", "{{url_base}}", "%{url_base}", "${url_base}", "<your-host>",
		"https://{{host}}", "https://u:p@auvious.video", "https://auvious.video?x=1", "https://auvious.video#x", "https://xn--.example/\x00",
	} {
		if got, err := accounts.ParseURLBase(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
}

func TestLinkHosts(t *testing.T) {
	hosts := accounts.LinkHosts{"auvious.video", "*.bücher.example", "Rooms.Example", "::1"}
	if err := hosts.Check(); err != nil {
		t.Errorf("checking %q: got error %v, want none", hosts, err)
	}
	for host, want := range map[string]bool{
		"auvious.video": true, "AUVIOUS.video.": true, "rooms.example": true, "::1": true,
		"a.bücher.example": true, "a.b.xn--bcher-kva.example": true, "A.BÜCHER.EXAMPLE": true,
		"bücher.example": false, "xbücher.example": false, "eu.auvious.video": false, "auvious.video.example": false,
		"evil-auvious.video": false, "": false, "*.bücher.example": false, "auvious": false,
	} {
		if got := hosts.Has(host); got != want {
			t.Errorf("%q: got %t, want %t", host, got, want)
		}
	}
	for _, entry := range []string{"", "*", "*.", "https://auvious.video", "auvious.video:443", "auvious.video/", "a.*.example", "a b", "[::1]"} {
		if err := (accounts.LinkHosts{entry}).Check(); err == nil {
			t.Errorf("checking %q: got no error, want one", entry)
		}
	}
}

func TestExpectedHosts(t *testing.T) {
	rooms := accounts.Rooms{URL: "http://127.0.0.1:8081", URLBase: "eu.auvious.video"}
	want := accounts.LinkHosts{"auvious.video", "127.0.0.1", "eu.auvious.video"}
	if got := (accounts.Auvious{Rooms: rooms}).ExpectedHosts(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAccountChecksLinks(t *testing.T) {
	a := accounts.Default("acme")
	a.LinkHosts = accounts.LinkHosts{"https://auvious.video"}
	if err := a.Check(); err == nil {
		t.Error("a URL as a link host: got no error, want one")
	}
	a.Auvious.URLBase = "https:/auvious.video"
	if err := a.Auvious.CheckRooms(); err == nil {
		t.Error("a URL base with a slip: got no error, want one")
	}
}

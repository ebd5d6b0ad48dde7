package viewer

import (
	"net/http"
	"net/url"
	"strings"
	"unicode"

	"github.com/go-chi/chi/v5"

	"roomlink/internal/access"
	"roomlink/internal/web"
)

// root is the relative address of the folder that has the pages and their assets. The viewer may have a path
// of its own behind a proxy, so no page knows its absolute address.
type root string

func rootOf(r *http.Request) root {
	return root(strings.Repeat("../", strings.Count(r.URL.EscapedPath(), "/")-1))
}

// answerWrongAddresses makes the router of some pages answer people, not programs. all has every route.
func (v *Viewer) answerWrongAddresses(pages, all chi.Router) {
	pages.NotFound(v.notFound)
	pages.MethodNotAllowed(func(w http.ResponseWriter, r *http.Request) {
		web.SetAllow(w, r, all)
		v.show(w, r, http.StatusMethodNotAllowed, pageInvalid)
	})
}

// notFound answers a wrong address below /open/ or /card/. If it is a page's address with punctuation behind,
// as mail programs add, notFound redirects to the page.
func (v *Viewer) notFound(w http.ResponseWriter, r *http.Request) {
	location, ok := v.corrected(r.URL.EscapedPath())
	if !ok || r.Method != http.MethodGet && r.Method != http.MethodHead {
		v.show(w, r, http.StatusNotFound, pageInvalid)
		return
	}
	w.Header().Set("Location", location)
	w.WriteHeader(http.StatusFound)
}

// corrected returns the relative address of the page whose token the path begins with. ok is false if there is
// no such page, or if the path names something below it.
func (v *Viewer) corrected(path string) (location string, ok bool) {
	purposes := openPurposes
	rest, found := strings.CutPrefix(path, "/open/")
	if !found {
		purposes = cardPurposes
		rest = strings.TrimPrefix(path, "/card/")
	}
	token := rest[:len(rest)-len(strings.TrimLeftFunc(rest, isTokenLetter))]
	behind := rest[len(token):]
	text, err := url.PathUnescape(behind)
	if err != nil || strings.HasPrefix(text, "/") && strings.ContainsFunc(text, isLetterOrDigit) {
		return "", false
	}
	if strings.Contains(text, "/./") || strings.Contains(text, "/../") {
		return "", false // a relative address would not lead to the page (RFC 3986, section 5.2.4)
	}
	for range maxDashes + 1 {
		if v.known(token, purposes) {
			return strings.Repeat("../", strings.Count(behind, "/")) + token, true
		}
		shorter, cut := strings.CutSuffix(token, "_")
		if !cut {
			shorter = strings.TrimSuffix(token, "-")
		}
		token = shorter
	}
	return "", false
}

// maxDashes bounds the letters of a token that corrected takes for punctuation: _ and -.
const maxDashes = 2

// known reports whether a token is one of ours, expired or not.
func (v *Viewer) known(token string, purposes []access.Purpose) bool {
	claims, _ := v.verify(token, purposes)
	return claims.Account != ""
}

// isTokenLetter reports whether a token may contain a letter: those of base64url (RFC 4648, section 5).
func isTokenLetter(letter rune) bool {
	return letter < unicode.MaxASCII && isLetterOrDigit(letter) || letter == '-' || letter == '_'
}

func isLetterOrDigit(letter rune) bool { return unicode.IsLetter(letter) || unicode.IsDigit(letter) }

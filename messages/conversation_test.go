package messages_test

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"roomlink/internal/roomlinktest"
	"roomlink/messages"
)

// hashed returns the token of an id that cannot be a token itself.
func hashed(id string) string {
	sum := sha256.Sum256([]byte(id))
	return "~" + base64.RawURLEncoding.EncodeToString(sum[:])
}

func TestToken(t *testing.T) {
	for name, test := range map[string]struct{ id, want string }{
		"uuid":          {"7f0c2f0e-66a1-4c59-9a25-0d8f1f3f2b11", "7f0c2f0e-66a1-4c59-9a25-0d8f1f3f2b11"},
		"one letter":    {"a", "a"},
		"underscore":    {"_a-B_9", "_a-B_9"},
		"64 bytes":      {strings.Repeat("x", 64), strings.Repeat("x", 64)},
		"65 bytes":      {strings.Repeat("x", 65), hashed(strings.Repeat("x", 65))},
		"empty":         {"", hashed("")},
		"dot":           {"a.b", hashed("a.b")},
		"space":         {"a b", hashed("a b")},
		"full wildcard": {">", hashed(">")},
		"wildcard":      {"*", hashed("*")},
		"tilde":         {"~a", hashed("~a")},
		"line end":      {"a\n", hashed("a\n")},
		"unicode":       {"διάλογος", hashed("διάλογος")},
		"dollar":        {"$JS", hashed("$JS")},
		"plus":          {"a+b", hashed("a+b")},
	} {
		t.Run(name, func(t *testing.T) {
			if got := messages.Token(test.id); got != test.want {
				t.Errorf("token of %q: got %q, want %q", test.id, got, test.want)
			}
		})
	}
}

// Stored subjects contain tokens, so the token of an id must never change.
func TestTokenNeverChanges(t *testing.T) {
	const want = "~LnM23I66h-9HLfVow1SCq_JXXcPl6sDFxiuP-urCyTQ"
	if got := messages.Token("a.b"); got != want {
		t.Errorf(`token of "a.b": got %q, want %q`, got, want)
	}
}

func TestValidateInteractionID(t *testing.T) {
	for name, test := range map[string]struct {
		id   string
		good bool
	}{
		"uuid":               {"7f0c2f0e-66a1-4c59-9a25-0d8f1f3f2b11", true},
		"dots":               {"a.b.c", true},
		"space":              {"a b", true},
		"wildcards":          {"a>*", true},
		"unicode":            {"διάλογος 17", true},
		"one brace":          {"{id}", true},
		"opened template":    {"{{id", true},
		"256 bytes":          {strings.Repeat("x", 256), true},
		"256 bytes of greek": {strings.Repeat("λ", 128), true},
		"empty":              {"", false},
		"257 bytes":          {strings.Repeat("x", 257), false},
		"258 bytes of greek": {strings.Repeat("λ", 129), false},
		"invalid UTF-8":      {"a\xff", false},
		"incomplete rune":    {"λ"[:1], false},
		"NUL":                {"a\x00b", false},
		"line end":           {"a\n", false},
		"tab":                {"a\tb", false},
		"delete":             {"a\x7f", false},
		"C1 control":         {"a\u0085b", false},
		"template":           {"{{interaction_id}}", false},
		"enclosed template":  {"x-{{ id }}-y", false},
		"blank":              {"   ", false},
		"blank, not ASCII":   {"\u00a0\u2003", false},
		"tilde":              {"~abc", true},
	} {
		t.Run(name, func(t *testing.T) {
			err := messages.ValidateInteractionID(test.id)
			wantValidity(t, err, test.good)
		})
	}
}

func TestValidateAccount(t *testing.T) {
	for name, test := range map[string]struct {
		account string
		good    bool
	}{
		"word":       {"acme", true},
		"hyphens":    {"a-b-1", true},
		"digit":      {"1", true},
		"32 bytes":   {strings.Repeat("a", 32), true},
		"empty":      {"", false},
		"33 bytes":   {strings.Repeat("a", 33), false},
		"upper case": {"Acme", false},
		"underscore": {"a_b", false},
		"dot":        {"a.b", false},
		"space":      {"a b", false},
		"wildcard":   {"*", false},
		"everything": {">", false},
		"unicode":    {"άκμη", false},
		"line end":   {"acme\n", false},
		"bad UTF-8":  {"a\xff", false},
		"slash":      {"a/b", false},
		"long":       {strings.Repeat("λ", 4000), false},
	} {
		t.Run(name, func(t *testing.T) {
			err := messages.ValidateAccount(test.account)
			wantValidity(t, err, test.good)
			if err != nil && len(err.Error()) > 400 {
				t.Errorf("length of the error: got %d, want at most 400", len(err.Error()))
			}
		})
	}
}

func wantValidity(t *testing.T, err error, good bool) {
	t.Helper()
	if good && err != nil {
		t.Errorf("error: got %v, want none", err)
	}
	if !good && !errors.Is(err, messages.ErrInvalid) {
		t.Errorf("error: got %v, want %v", err, messages.ErrInvalid)
	}
}

func TestConversationSubjects(t *testing.T) {
	c := messages.Conversation{Account: "acme", InteractionID: "a-1"}
	for _, test := range []struct{ what, got, want string }{
		{"event subject", c.EventSubject(), "roomlink.conversations.acme.a-1"},
		{"links subject", c.LinksSubject(), "roomlink.links.acme.a-1"},
		{"dead letter subject", c.DeadLetterSubject(), "roomlink.deadletters.acme.a-1"},
	} {
		if test.got != test.want {
			t.Errorf("%s: got %q, want %q", test.what, test.got, test.want)
		}
	}
}

func TestConversationValidate(t *testing.T) {
	wantValidity(t, messages.Conversation{Account: "acme", InteractionID: "a"}.Validate(), true)
	wantValidity(t, messages.Conversation{Account: "", InteractionID: "a"}.Validate(), false)
	wantValidity(t, messages.Conversation{Account: "acme"}.Validate(), false)
}

func TestSplitSubject(t *testing.T) {
	c := roomlinktest.Conversation("two words")
	for _, subject := range []string{c.EventSubject(), c.LinksSubject(), c.DeadLetterSubject()} {
		account, token, err := messages.SplitSubject(subject)
		if err != nil || account != c.Account || token != messages.Token(c.InteractionID) {
			t.Errorf("splitting %q: got %q, %q and error %v, want %q, %q",
				subject, account, token, err, c.Account, messages.Token(c.InteractionID))
		}
	}
	for _, subject := range []string{"", "roomlink", "roomlink.links.acme", "other.links.acme.a", "roomlink.links.acme.a.b"} {
		_, _, err := messages.SplitSubject(subject)
		wantValidity(t, err, false)
	}
}

func FuzzToken(f *testing.F) {
	for _, id := range []string{"", "a", "a.b", ">", "*", "~", "διάλογος", "a\x00", strings.Repeat("x", 300)} {
		f.Add(id)
	}
	safe := regexp.MustCompile(`^(~[A-Za-z0-9_-]{43}|[A-Za-z0-9_-]{1,64})$`)
	f.Fuzz(func(t *testing.T, id string) {
		token := messages.Token(id)
		if !safe.MatchString(token) {
			t.Fatalf("token of %q: got %q, want a valid NATS token", id, token)
		}
		if token != id && token != hashed(id) {
			t.Fatalf("token of %q: got %q, want the id or its hash", id, token)
		}
		if messages.ValidateInteractionID(id) == nil && (id == "" || !utf8.ValidString(id)) {
			t.Fatalf("id %q: got no error, want one", id)
		}
	})
}

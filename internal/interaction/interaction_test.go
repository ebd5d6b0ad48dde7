package interaction_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"roomlink/internal/interaction"
	"roomlink/messages"
)

// realIDs are ids, however odd.
var realIDs = []string{
	"9b3d5e7f1a2c4b6d8e0f1a2b3c4d5e6f", "7f0c2f0e-66a1-4c59-9a25-0d8f1f3f2b11", "call-1", "0", "-1", "1e5", "a b", "a.b",
	"{7f0c2f0e-66a1-4c59-9a25-0d8f1f3f2b11}", "{f81d4fae-7dec-11d0-a765-00a0c91e6bf6}", "<7f3a91@mail.example.com>",
	"<jane@mail.example>", "[2001:db8::1]", "sip:7f3a91@10.0.0.1", "19:meeting_MjdhNjM4@thread.v2", "+15550100", "#12345", "@jane",
	"annull-12", "nullable", "call-null-7", "call-null", "none-12", "undefined-behaviour", "nanna", "nil0", "nonesuch",
	"a{b", "a}b", "a{b-{c", "a%b", "100%25", "a%20b", "a%2Fb", "caf%C3%A9-1", "a<b", "a>b", "a$b", "US$abc", "a:b", "voice:abc", "::1",
	"*", "..", "../../etc/passwd", `"'`, "a/b", `a\b`, "a>*", "roomlink.conversations.>", "$JS.API.STREAM.DELETE.X",
	"<script>alert(1)</script>", "?wait=4s", "日本語", "👩‍🚀", "é", "~token", `"abc"`, "a&b", "AT&amp;T", "0000-1", "unknown", "interaction-1",
}

// unfilled are what programs leave in place of an id.
var unfilled = []string{
	"{{interaction_id}}", "{{ interaction_id }}", "{{interaction_id", "interaction_id}}", "{interaction_id}}", "{{interaction_id}",
	"{{", "}}", "{", "}", "%{interaction_id}", "%{interaction_id", "%{", "interaction_id}", "{interaction_id", "{interaction_id}",
	"${interaction_id}", "${interaction_id:-x}", "#{interaction_id}", "@{variables('id')}", "$(interaction_id)", "%(interaction_id)s",
	"<%= interaction_id %>", "<%= interaction_id", "interaction_id %>", "<?= $id ?>", "{% id %}", "{$id}", "{!Contact.Id}", "{0}", "{}",
	"[[interaction_id]]", "[interaction_id]", "[[interaction_id", "interaction_id]]", "<interaction_id>", "<interaction id>",
	"<your-interaction-id>", "<interaction_id", "interaction_id>", "<<id>>", "«id»", "*|ID|*", "%interaction_id%", "%interaction_id",
	"interaction_id%", "%call_id", "$interaction_id", "$contact.id", "${", "$", "%", ":interactionId", "@id@", "#id#", "__id__", "$id$",
	"!id!", ":id:", "$(", "call-{{id}}", "call-%{id}", "call-{id}", "call{id}", "call-$id", "call-<id>", "{account}-{id}", "{ {x} }",
	"${x['id']}", "x['id']}", "{идентификатор}", "{número}", "%7B%7Binteraction_id%7D%7D", "%7Binteraction_id%7D", "&lt;id&gt;",
	"&#123;&#123;id&#125;&#125;", `"{{id}}"`, "'%{id}'",
	"null", "NULL", "Null", "undefined", "UNDEFINED", "None", "nil", "<nil>", "(null)", "(nil)", "[null]", "{null}", `"null"`, "'None'",
	"n/a", "N/A", "#N/A", "n.a.", "<NA>", "NaN", "-nan", "NaT", "undef", "nullptr", `\N`, "<no value>", "(not set)", "Optional.empty",
	"[object Object]", "[object Undefined]", "[object Obj", "object Object]", "%!s(<nil>)", "%!v(MISSING)", "null-null", "undefined/null",
	"\ufeffnull", `""`, "''", "-", "--", "—", "00000000-0000-0000-0000-000000000000", "00000000000000000000000000000000",
	"{00000000-0000-0000-0000-000000000000}", "interaction_id", "interactionId", "conversation_id",
}

func TestID(t *testing.T) {
	for _, id := range realIDs {
		for _, text := range []string{id, " " + id, id + "\n", "\u2003\u00a0" + id + "\u0085\t"} {
			if got, err := interaction.ID(text); err != nil || got != id {
				t.Errorf("%q: got %q and error %v, want %q", text, got, err, id)
			}
		}
		if got := interaction.Contact(id + " "); got != id {
			t.Errorf("contact %q: got %q, want it", id, got)
		}
	}
	for _, id := range unfilled {
		for _, text := range []string{id, " " + id + "\u2003"} {
			got, err := interaction.ID(text)
			if err == nil || got != "" || !strings.Contains(err.Error(), "replace it by the variable") {
				t.Errorf("%q: got %q and error %v, want a sentence that says what to do", text, got, err)
			}
		}
		if got := interaction.Contact(id); got != "" {
			t.Errorf("contact %q: got %q, want it left out", id, got)
		}
	}
	for _, id := range []string{"", " ", "\u2003", "a\x00b", "a\nb", "a\xff", strings.Repeat("x", 257)} {
		if got, err := interaction.ID(id); err == nil || got != "" || interaction.Contact(id) != "" {
			t.Errorf("%q: got %q and error %v, want an error, and no contact", id, got, err)
		}
	}
}

// FuzzID checks that two texts give one id only if they differ in nothing but the white space
// around them, and that an id keeps its conversation when it comes in again.
func FuzzID(f *testing.F) {
	for i, id := range append(realIDs, unfilled...) {
		f.Add(id, realIDs[i%len(realIDs)])
		f.Add(id, " "+id+"\u3000")
		f.Add(id, strings.ToUpper(id))
	}
	f.Add("é", "e\u0301")
	f.Add("a\ufffd", "a\xff")
	f.Fuzz(func(t *testing.T, a, b string) {
		idA, errA := interaction.ID(a)
		idB, errB := interaction.ID(b)
		if errA != nil || errB != nil {
			return
		}
		same := strings.TrimFunc(a, unicode.IsSpace) == strings.TrimFunc(b, unicode.IsSpace)
		if got := messages.Token(idA) == messages.Token(idB); got != same {
			t.Errorf("%q and %q: got one conversation: %t, want %t", a, b, got, same)
		}
		if again, err := interaction.ID(idA); err != nil || again != idA {
			t.Errorf("%q again: got %q and error %v, want it back", idA, again, err)
		}
		if err := messages.ValidateInteractionID(idA); err != nil {
			t.Errorf("%q: got %v from the contract, want no error", idA, err)
		}
	})
}

// FuzzUnfilled puts names into every syntax. A placeholder is refused, whole or cut at either
// end.
func FuzzUnfilled(f *testing.F) {
	for i := range syntaxes {
		f.Add("interaction_id", uint8(i), uint8(0), false)
		f.Add("Contact.id", uint8(i), uint8(3), true)
		f.Add("é", uint8(i), uint8(9), false)
	}
	f.Fuzz(func(t *testing.T, name string, which, cut uint8, front bool) {
		if !isIdentifier(name) {
			t.Skip()
		}
		s := syntaxes[int(which)%len(syntaxes)]
		whole := []rune(s.before + name + s.after)
		if got := interaction.Unfilled(string(whole)); !got {
			t.Errorf("%q: got an id, want a placeholder", string(whole))
		}
		if !s.halves {
			return
		}
		part, rest := whole[:len(whole)-int(cut)%len(whole)], s.before
		if front {
			part, rest = whole[int(cut)%len(whole):], s.after
		}
		if countDigits(string(part)) > 0 && !strings.ContainsFunc(string(part), unicode.IsLetter) {
			t.Skip() // "12%" may be anything
		}
		if strings.ContainsAny(string(part), rest) && !interaction.Unfilled(string(part)) {
			t.Errorf("%q, cut from %q: got an id, want a placeholder", string(part), string(whole))
		}
	})
}

// syntaxes are the syntaxes of templates. halves is true if a cut placeholder is refused as
// long as it has a character of a delimiter.
var syntaxes = []struct {
	before, after string
	halves        bool
}{
	{"{{", "}}", true},
	{"{{ ", " }}", true},
	{"{{{", "}}}", true},
	{"%{", "}", true},
	{"${", "}", true},
	{"{", "}", true},
	{"<", ">", true},
	{"<%= ", " %>", true},
	{"<%", "%>", true},
	{"#{", "}", true},
	{"[[", "]]", true},
	{"%", "%", true},
	{"{% ", " %}", true},
	{"[", "]", true},
	{"@{", "}", true},
	{"$(", ")", true},
	{"<<", ">>", true},
	{"«", "»", true},
	{"$", "", true},
	{":", "", true},
	{"@", "@", false},
	{"#", "#", false},
	{"__", "__", false},
	{"*|", "|*", false},
	{"%(", ")s", false},
}

func isIdentifier(name string) bool {
	for i, r := range name {
		if !unicode.IsLetter(r) && r != '_' && r != '.' && (i == 0 || !unicode.IsDigit(r)) {
			return false
		}
	}
	return strings.ContainsFunc(name, unicode.IsLetter) && len(name) < 200 && countDigits(name) <= 3 && strings.Count(name, ".") < 3 &&
		!strings.HasPrefix(name, ".") && !strings.HasSuffix(name, ".") && !strings.Contains(name, "..")
}

func countDigits(text string) (count int) {
	for _, r := range text {
		if unicode.IsDigit(r) {
			count++
		}
	}
	return count
}

// FuzzRealID checks that digits and a letter are an id with any letters and digits between
// them, and with one character that templates use.
func FuzzRealID(f *testing.F) {
	for i, inside := range []string{"null", "undefined", "none", "é", "", "nil"} {
		f.Add(uint16(i*9999), inside, uint8(i), uint8(i))
	}
	const special = "{}<>[]()%$@#!:|*_-.'\"&\\~ "
	f.Fuzz(func(t *testing.T, number uint16, inside string, which, at uint8) {
		if len(inside) > 100 || strings.ContainsFunc(inside, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
			t.Skip()
		}
		place := int(at) % (len(inside) + 1)
		id := fmt.Sprintf("%d%s%c%s%dx", number, inside[:place], special[int(which)%len(special)], inside[place:], number)
		if !utf8.ValidString(id) {
			t.Skip()
		}
		if got, err := interaction.ID(id); err != nil || got != id {
			t.Errorf("%q: got %q and error %v, want it back", id, got, err)
		}
	})
}

package interaction

import (
	"html"
	"net/url"
	"regexp"
	"strings"
	"unicode"

	"roomlink/messages"
)

// Unfilled reports whether a text is what arrives in place of a value that nobody filled in:
//
//   - An end of a placeholder in two characters, anywhere in the text, as in {{x}}, %{x},
//     ${x}, #{x}, $(x), <%= x %>, {% x %}, [[x]], <<x>>, «x» and *|x|*. So half a placeholder
//     is enough.
//   - A pair of braces around at most three digits and any other characters, anywhere in the
//     text, as in {x}, {user.id}, {0} and {}; or one brace, if the text begins with it or ends
//     with it. More digits are an id in braces, such as a GUID.
//   - A name as the whole text in <x>, [x], (x), %x%, @x@, #x#, !x!, :x: and __x__, or with
//     one end of <x>, [x], (x) and %x%. A name has letters, spaces, "_", "-", "." and at most
//     three digits. Likewise $x, $x.y and :x, and <x> and $x between punctuation.
//   - Such a delimiter alone, or hyphens alone.
//   - A word that programs write for nothing, in any case, in quotes or brackets, or several
//     of them, as in null, undefined, None, (nil), N/A, NaN, <no value>, [object Object] and
//     null-null. The nil UUID is one.
//   - The name of the field itself, such as interaction_id.
//
// Unfilled looks at the text as it is, and without its percent-encoding or HTML entities.
func Unfilled(text string) bool {
	if len(text) > messages.MaxInteractionID {
		return false // too long for a name
	}
	if unfilled(text) {
		return true
	}
	if strings.Contains(text, "%") {
		if decoded, err := url.PathUnescape(text); err == nil && unfilled(decoded) {
			return true
		}
	}
	return strings.Contains(text, "&") && unfilled(html.UnescapeString(text))
}

// unfilled is [Unfilled] for a text without encodings.
func unfilled(text string) bool {
	text = unquote(text)
	if isNothing(text) {
		return true
	}
	if !strings.ContainsAny(text, delimiters+"«»*|\\") && !strings.HasPrefix(text, ":") && !strings.HasPrefix(text, "__") {
		return false // most ids end here
	}
	return strings.Trim(text, delimiters+": _.-") == "" ||
		ends.MatchString(text) || inBraces(text) || isWrapped(text) || isSetOff(text)
}

// delimiters are the single characters that delimit placeholders.
const delimiters = "{}<>[]()%$@#!"

// ends match the beginnings and the ends of placeholders that no id has.
var ends = regexp.MustCompile(`\{[{%#!$@=~?]|[%$#@*!~&\\]\{|[%$@\\]\(|[%$]\[|<[%?#$<]|\[[\[%@]|\*\||%!|[«»]|` +
	`\}\}|[%#$~?]\}|[%?#$>]>|[\]%]\]|\|\*`)

// braces match a text in braces, or with one of them.
var braces = regexp.MustCompile(`\{[^{}]*\}|^\{[^{}]*$|^[^{}]*\}$`)

func inBraces(text string) bool {
	for _, found := range braces.FindAllString(text, -1) {
		if countDigits(found) <= maxDigits {
			return true
		}
	}
	return false
}

// wrappers are the other ends of placeholders. halves says whether one of them is enough.
var wrappers = []struct {
	before, after string
	halves        bool
}{
	{"<", ">", true},
	{"[", "]", true},
	{"(", ")", true},
	{"%", "%", true},
	{"@", "@", false},
	{"#", "#", false},
	{"!", "!", false},
	{"$", "$", false},
	{"__", "__", false},
	{":", ":", false},
	{":", "", false},
}

// isWrapped reports whether the text is a name between wrappers.
func isWrapped(text string) bool {
	for _, w := range wrappers {
		name, before := strings.CutPrefix(text, w.before)
		name, after := strings.CutSuffix(name, w.after)
		whole, half := before && after, w.halves && (before || after && !strings.HasSuffix(name, "."))
		if (whole || half) && isName(name) {
			return true
		}
	}
	return false
}

// setOff matches <x> and $x where no letter or digit touches them. A "$" with more than two
// dots behind it is no placeholder: subjects of NATS look so.
var setOff = regexp.MustCompile(`(?:^|[^\pL\pN])(?:<([\pL_][^<>]*)>(?:[^\pL\pN]|$)|` +
	`\$([\pL_][\pL\pN_]*(?:\.[\pL\pN_]+){0,2})(?:[^\pL\pN_.]|\.?$))`)

func isSetOff(text string) bool {
	for _, found := range setOff.FindAllStringSubmatch(text, -1) {
		if isName(found[1] + found[2]) {
			return true
		}
	}
	return false
}

// maxDigits bounds the digits in the name of a variable. An id has more.
const maxDigits = 3

func countDigits(text string) (count int) {
	for _, r := range text {
		if unicode.IsDigit(r) {
			count++
		}
	}
	return count
}

// isName reports whether a text can be the name of a variable, or a part of one.
func isName(text string) bool {
	return strings.ContainsFunc(text, unicode.IsLetter) && countDigits(text) <= maxDigits &&
		!strings.ContainsFunc(text, func(r rune) bool {
			return !unicode.In(r, unicode.Letter, unicode.Mark, unicode.Nd) && !strings.ContainsRune("_-. '", r)
		})
}

// nothing are the words for nothing of programming languages, databases and spreadsheets,
// and the names of the fields that hold an id.
var nothing = map[string]bool{
	"null": true, "nil": true, "none": true, "undefined": true, "undef": true, "nan": true, "nat": true, "nullptr": true,
	"n/a": true, "n.a.": true, "na": true, `\n`: true, "no value": true, "not set": true, "unset": true, "not defined": true,
	"optional.empty": true, "interactionid": true, "interaction_id": true, "conversationid": true, "conversation_id": true,
}

var (
	// object matches how JavaScript writes an object, or half of it.
	object = regexp.MustCompile(`^\[?object \w+\]?$`)
	// nilUUID matches the nil UUID (RFC 9562, section 5.9).
	nilUUID = regexp.MustCompile(`^0{8}-?0{4}-?0{4}-?0{4}-?0{12}$`)
)

// isNothing reports whether a text is empty, hyphens, or words for nothing.
func isNothing(text string) bool {
	text = strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Cf, r) { // invisible, such as a byte order mark
			return -1
		}
		return unicode.ToLower(r)
	}, text)
	if strings.Trim(text, "-–— ") == "" || strings.Contains(text, "object ") && object.MatchString(text) {
		return true
	}
	text = strings.Trim(text, delimiters+"\"'` ")
	if nothing[text] || strings.HasPrefix(text, "0000") && nilUUID.MatchString(text) {
		return true
	}
	found := false
	for word := range strings.FieldsFuncSeq(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		if !nothing[word] {
			return false
		}
		found = true
	}
	return found
}

// unquote cuts off matching quotation marks, and the space inside them.
func unquote(text string) string {
	text = strings.TrimSpace(text)
	for len(text) > 1 && strings.ContainsRune("\"'`", rune(text[0])) && text[0] == text[len(text)-1] {
		text = strings.TrimSpace(text[1 : len(text)-1])
	}
	return text
}

package webhook_test

import (
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"roomlink/internal/access"
	"roomlink/internal/accounts"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/web"
	"roomlink/messages"
)

// hostile is a request that Talkdesk does not send.
type hostile struct {
	name string
	body string
	// edits change the request, which is a POST of JSON with the API key.
	edits  []edit
	status int
	// code is the code of the error; "" for a success.
	code string
}

// padded returns a start of the given length in bytes.
func padded(id string, length int) string {
	const frame = `{"event":"starts","interaction_id":"%s","pad":"%s"}`
	return fmt.Sprintf(frame, id, strings.Repeat("x", length-len(fmt.Sprintf(frame, id, ""))))
}

// nested returns a start with a field of nested arrays.
func nested(id string, depth int) string {
	return fmt.Sprintf(`{"event":"starts","interaction_id":"%s","deep":%s%s}`,
		id, strings.Repeat("[", depth), strings.Repeat("]", depth))
}

// many returns a start with more fields, and text after them.
func many(id string, count int, more string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `{"event":"starts","interaction_id":"%s"`, id)
	for i := range count {
		fmt.Fprintf(&b, `,"field-%d":%d`, i, i)
	}
	return b.String() + more + "}"
}

// room returns a request for a room. The pairs of names and values are added to the usual
// members or replace them; an empty value removes a member.
func room(members ...string) string {
	fields := map[string]string{
		"applicationId": `"app"`, "cdestination": `"standalone"`, "customerId": `"c"`, "interactionId": `"i"`,
	}
	for i := 0; i < len(members); i += 2 {
		fields[members[i]] = members[i+1]
		if members[i+1] == "" {
			delete(fields, members[i])
		}
	}
	var parts []string
	for name, value := range fields {
		parts = append(parts, fmt.Sprintf("%q:%s", name, value))
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func withMethod(method string) edit { return func(r *http.Request) { r.Method = method } }

func withPath(path string) edit {
	return func(r *http.Request) { r.URL.Opaque = "//" + r.Host + path }
}

// chunked hides the length of the body.
func chunked(r *http.Request) {
	r.ContentLength = -1
	r.Body = io.NopCloser(io.MultiReader(r.Body))
}

// hostileBodies are bodies of requests with valid headers.
var hostileBodies = []hostile{
	{name: "empty", body: "", status: 400, code: "empty_body"},
	{name: "blank", body: " \r\n\t ", status: 400, code: "empty_body"},
	{name: "a brace", body: "{", status: 400, code: "bad_json"},
	{name: "truncated in a string", body: `{"event":"sta`, status: 400, code: "bad_json"},
	{name: "truncated between members", body: `{"event":"starts"`, status: 400, code: "bad_json"},
	{name: "truncated after a comma", body: `{"event":"starts",`, status: 400, code: "bad_json"},
	{name: "truncated in a nested value", body: `{"event":"starts","x":[{"y":`, status: 400, code: "bad_json"},
	{name: "not JSON", body: "event=starts", status: 400, code: "bad_json"},
	{name: "single quotes", body: `{'event':'starts'}`, status: 400, code: "bad_json"},
	{name: "an extra comma", body: `{"event":"starts","interaction_id":"a",}`, status: 400, code: "bad_json"},
	{name: "a comment", body: `{"event":"starts"/*,*/,"interaction_id":"a"}`, status: 400, code: "bad_json"},
	{name: "NaN", body: `{"event":"starts","interaction_id":"a","x":NaN}`, status: 400, code: "bad_json"},
	{name: "a byte order mark", body: "\uFEFF" + `{"event":"starts","interaction_id":"a"}`, status: 400, code: "bad_json"},
	{name: "another object after it", body: automation("a") + automation("b"), status: 400, code: "bad_json"},
	{name: "junk after it", body: automation("a") + "x", status: 400, code: "bad_json"},
	{name: "a brace after it", body: automation("a") + "}", status: 400, code: "bad_json"},
	{name: "space after it", body: automation("space after") + " \r\n", status: 202},
	{name: "an array", body: "[" + automation("a") + "]", status: 400, code: "not_an_object"},
	{name: "a string", body: `"event"`, status: 400, code: "not_an_object"},
	{name: "a number", body: "7", status: 400, code: "not_an_object"},
	{name: "null", body: "null", status: 400, code: "not_an_object"},
	{name: "a huge number in an unused field", body: `{"event":"starts","interaction_id":"huge","x":1e999999999}`, status: 202},
	{name: "9,999 levels", body: nested("levels", 9_999), status: 202},
	{name: "10,000 levels", body: nested("levels too many", 10_000), status: 400, code: "bad_json"},
	{
		name: "9,999 levels of id", body: `{"event":"starts","interaction_id":` + strings.Repeat("[", 9_999) + strings.Repeat("]", 9_999) + "}",
		status: 400, code: "wrong_type",
	},
	{name: "10,000 levels, truncated", body: `{"event":` + strings.Repeat("[", 10_000), status: 400, code: "bad_json"},
	{
		name: "9,999 levels of a room request", body: room("customerId", strings.Repeat("[", 9_999)+strings.Repeat("]", 9_999)),
		status: 400, code: "schema",
	},
	{name: "64 KiB", body: padded("64 KiB", web.MaxBody), status: 202},
	{name: "64 KiB in chunks", body: padded("64 KiB in chunks", web.MaxBody), edits: []edit{chunked}, status: 202},
	{name: "64 KiB and a byte", body: padded("a", web.MaxBody+1), status: 413, code: "too_large"},
	{name: "64 KiB and a byte in chunks", body: padded("a", web.MaxBody+1), edits: []edit{chunked}, status: 413, code: "too_large"},
	{name: "1 MiB", body: padded("a", 1<<20), status: 413, code: "too_large"},
	{name: "1 MiB of braces in chunks", body: strings.Repeat("{", 1<<20), edits: []edit{chunked}, status: 413, code: "too_large"},
	{name: "a field twice", body: `{"event":"starts","interaction_id":"a","interaction_id":"b"}`, status: 400, code: "duplicate_field"},
	{
		name: "a field twice, once escaped", body: `{"event":"starts","interaction_id":"a","interaction\u005fid":"b"}`,
		status: 400, code: "duplicate_field",
	},
	{name: "500 fields", body: many("500 fields", 500, ""), status: 202},
	{name: "500 fields, and an early one again", body: many("early again", 500, `,"field-3":1`), status: 400, code: "duplicate_field"},
	{name: "500 fields, and a late one again", body: many("late again", 500, `,"field-49\u0039":1`), status: 400, code: "duplicate_field"},
	{name: "a nested field twice", body: `{"event":"starts","interaction_id":"nested twice","x":{"y":1,"y":2}}`, status: 202},
	{name: "an unused field twice", body: `{"event":"starts","interaction_id":"a","x":1,"x":2}`, status: 400, code: "duplicate_field"},
	{name: "a field of a room request twice", body: strings.Replace(room(), "{", `{"customerId":"d",`, 1), status: 400, code: "duplicate_field"},
	{name: "a NUL without an escape", body: "{\"event\":\"starts\",\"interaction_id\":\"a\x00b\"}", status: 400, code: "bad_json"},
	{name: "a NUL before it", body: "\x00" + automation("a"), status: 400, code: "bad_json"},
	{name: "invalid UTF-8", body: "{\"event\":\"starts\",\"interaction_id\":\"a\xff\"}", status: 400, code: "not_utf8"},
	{name: "invalid UTF-8 in an unused field", body: "{\"event\":\"starts\",\"interaction_id\":\"a\",\"x\":\"\xc0\xaf\"}", status: 400, code: "not_utf8"},
	{name: "UTF-16", body: "\xff\xfe{\x00}\x00", status: 400, code: "not_utf8"},
	{name: "half a surrogate pair", body: `{"event":"starts","interaction_id":"a\ud800"}`, status: 400, code: "not_unicode"},
	{name: "half a surrogate pair in an unused field", body: `{"event":"starts","interaction_id":"half","x":["a\ud800"]}`, status: 202},
	{name: "compressed", body: "\x1f\x8b\x08\x00", edits: []edit{with("Content-Encoding", "gzip")}, status: 415, code: "unsupported_encoding"},
	{name: "compressed twice", body: "\x1f\x8b\x08\x00", edits: []edit{with("Content-Encoding", "identity, br")}, status: 415, code: "unsupported_encoding"},
	{name: "compressed, without a header", body: "\x1f\x8b\x08\x00", status: 400, code: "not_utf8"},
	{name: "not compressed", body: automation("not compressed"), edits: []edit{with("Content-Encoding", "Identity")}, status: 202},

	{name: "an empty object", body: "{}", status: 400, code: "unknown_shape"},
	{name: "another object", body: `{"hello":"world"}`, status: 400, code: "unknown_shape"},
	{name: "an id alone", body: `{"interaction_id":"a"}`, status: 400, code: "unknown_shape"},
	{name: "EVENT", body: `{"EVENT":"starts","interaction_id":"a"}`, status: 400, code: "unknown_shape"},
	{name: "event is a number", body: `{"event":7,"interaction_id":"a"}`, status: 400, code: "wrong_type"},
	{name: "event is null", body: `{"event":null,"interaction_id":"a"}`, status: 400, code: "missing_field"},
	{name: "event is empty", body: `{"event":"","interaction_id":"a"}`, status: 400, code: "missing_field"},
	{name: "event_type is an object", body: `{"event_type":{},"conversation_id":"a"}`, status: 400, code: "wrong_type"},
	{name: "a timestamp is a number", body: `{"event_type":"CONVERSATION_STARTED","conversation_id":"a","timestamp":7}`, status: 400, code: "wrong_type"},
	{name: "Digital Connect without an id", body: `{"event_type":"CONVERSATION_STARTED"}`, status: 400, code: "missing_field"},

	{name: "no id", body: `{"event":"starts"}`, status: 400, code: "missing_field"},
	{name: "id is null", body: `{"event":"starts","interaction_id":null}`, status: 400, code: "missing_field"},
	{name: "id is empty", body: automation(""), status: 400, code: "missing_field"},
	{name: "id is a number", body: `{"event":"starts","interaction_id":42}`, status: 400, code: "wrong_type"},
	{name: "id is a boolean", body: `{"event":"starts","interaction_id":true}`, status: 400, code: "wrong_type"},
	{name: "id is an object", body: `{"event":"starts","interaction_id":{"id":"a"}}`, status: 400, code: "wrong_type"},
	{name: "id is an array", body: `{"event":"starts","interaction_id":["a"]}`, status: 400, code: "wrong_type"},
	{name: "id is blank", body: automation("   "), status: 400, code: "bad_interaction_id"},
	{name: "id is a template", body: automation("{{interaction_id}}"), status: 400, code: "bad_interaction_id"},
	{name: "id holds a template", body: automation("call-{{ interaction_id }}"), status: 400, code: "bad_interaction_id"},
	{name: "id holds a NUL", body: automation("a\x00b"), status: 400, code: "bad_interaction_id"},
	{name: "id holds a line end", body: automation("a\r\nX-Injected: b"), status: 400, code: "bad_interaction_id"},
	{name: "id of 257 bytes", body: automation(strings.Repeat("x", 257)), status: 400, code: "bad_interaction_id"},
	{name: "id of 300 characters", body: automation(strings.Repeat("x", 300)), status: 400, code: "bad_interaction_id"},
	{name: "id of 129 characters and 258 bytes", body: automation(strings.Repeat("é", 129)), status: 400, code: "bad_interaction_id"},
	{name: "contact is a number", body: `{"event":"starts","interaction_id":"a","contact_id":7}`, status: 400, code: "wrong_type"},

	{name: "a room with an unknown field", body: room("password", `"x"`), status: 400, code: "schema"},
	{name: "a room with many unknown fields", body: room("x1", "1", "x2", "2", strings.Repeat("<", 60_000), "3"), status: 400, code: "schema"},
	{name: "a room without a customer", body: room("customerId", ""), status: 400, code: "schema"},
	{name: "a room without a conversation", body: room("interactionId", ""), status: 400, code: "schema"},
	{name: "a room with null", body: room("organizationId", "null"), status: 400, code: "schema"},
	{name: "a room with a number for an id", body: room("interactionId", "7"), status: 400, code: "schema"},
	{name: "a room with the expiration in words", body: room("ticketExpirationSeconds", `"3600"`), status: 400, code: "schema"},
	{name: "a room with half a second", body: room("ticketExpirationSeconds", "0.5"), status: 400, code: "schema"},
	{name: "a room with a negative expiration", body: room("ticketExpirationSeconds", "-1"), status: 400, code: "bad_ticket_expiration"},
	{name: "a room that expires in 100 years", body: room("ticketExpirationSeconds", "3153600000"), status: 400, code: "bad_ticket_expiration"},
	{name: "a room with a huge expiration", body: room("ticketExpirationSeconds", "1e400"), status: 400, code: "bad_ticket_expiration"},
	{name: "a room with a larger expiration", body: room("ticketExpirationSeconds", "1e999999"), status: 400, code: "bad_ticket_expiration"},
	{name: "a room with the largest expiration", body: room("ticketExpirationSeconds", "1e999999999"), status: 400, code: "schema"},
	{name: "a room with an empty id", body: room("interactionId", `""`), status: 400, code: "bad_interaction_id"},
	{name: "a room with a template", body: room("interactionId", `"{{interaction_id}}"`), status: 400, code: "bad_interaction_id"},
	{name: "a room at ftp", body: room("urlBase", `"ftp://auvious.video"`), status: 400, code: "bad_url_base"},
	{name: "a room at javascript", body: room("urlBase", `"javascript:alert(1)"`), status: 400, code: "bad_url_base"},
	{name: "a room at a user", body: room("urlBase", `"https://user:password@auvious.video"`), status: 400, code: "bad_url_base"},
	{name: "a room nowhere", body: room("urlBase", `"https://"`), status: 400, code: "bad_url_base"},
	{name: "a room at a port alone", body: room("urlBase", `"https://:443"`), status: 400, code: "bad_url_base"},
	{name: "a room with a line end", body: room("urlBase", `"auvious.video\r\nX: y"`), status: 400, code: "bad_url_base"},
	{
		name: "a room of another application", body: room("applicationId", `"theirs"`), edits: []edit{withKey(otherKey)},
		status: 400, code: "wrong_application",
	},
	// Escaped, the text would be six times as long, too long for a message of the broker.
	{
		name: "a room with an organization of 60,000 characters", body: room("organizationId", `"`+strings.Repeat("<", 60_000)+`"`),
		status: 400, code: "too_long",
	},
	{
		name: "a room with an organization of 2,048 characters", body: room("organizationId", `"`+strings.Repeat("<", 2048)+`"`, "interactionId", `"long"`),
		status: 202,
	},
}

// hostileHeaders are headers of requests with a valid body.
var hostileHeaders = []hostile{
	{name: "no content type", edits: []edit{without("Content-Type")}, status: 415, code: "not_json"},
	{name: "text", edits: []edit{with("Content-Type", "text/plain")}, status: 415, code: "not_json"},
	{name: "a form", edits: []edit{with("Content-Type", formType)}, status: 415, code: "not_json"},
	{name: "a multipart form", edits: []edit{with("Content-Type", "multipart/form-data; boundary=x")}, status: 415, code: "not_json"},
	{name: "half a content type", edits: []edit{with("Content-Type", "json")}, status: 415, code: "not_json"},
	{name: "nearly JSON", edits: []edit{with("Content-Type", "application/jsonp")}, status: 415, code: "not_json"},
	{name: "a malformed content type", edits: []edit{with("Content-Type", "application/json; charset")}, status: 415, code: "not_json"},
	{name: "JSON joined with text", edits: []edit{with("Content-Type", "application/json, text/plain")}, status: 415, code: "not_json"},
	{name: "text joined with JSON", edits: []edit{with("Content-Type", "text/plain, application/json")}, status: 415, code: "not_json"},
	{name: "JSON joined with nothing", edits: []edit{with("Content-Type", "application/json,")}, status: 415, code: "not_json"},
	{name: "any text", edits: []edit{with("Content-Type", "text/*")}, status: 415, code: "not_json"},
	{name: "many types", edits: []edit{with("Content-Type", strings.Repeat("application/json,", 1000))}, status: 415, code: "not_json"},
	{name: "JSON twice", body: automation("JSON twice"), edits: []edit{with("Content-Type", "application/json, application/json")}, status: 202},
	{
		name: "JSON twice with parameters", body: automation("JSON twice with parameters"),
		edits: []edit{with("Content-Type", "application/json;charset=UTF-8,text/json; charset=utf-8")}, status: 202,
	},
	{name: "a comma in a parameter", body: automation("a comma"), edits: []edit{with("Content-Type", `application/json; profile="a,b"`)}, status: 202},
	{name: "text/json", body: automation("text/json"), edits: []edit{with("Content-Type", "text/json")}, status: 202},
	{name: "any type", body: automation("any type"), edits: []edit{with("Content-Type", "*/*")}, status: 202},
	{name: "any type, and JSON", body: automation("any type, and JSON"), edits: []edit{with("Content-Type", "*/*, application/json")}, status: 202},
	{name: "a type that ends in +json", body: automation("a type that ends in +json"), edits: []edit{with("Content-Type", "Application/Vnd.X+JSON; charset=UTF-8")}, status: 202},

	{name: "no credentials", edits: []edit{without("X-API-Key")}, status: 401, code: "unauthorized"},
	{name: "an empty key", edits: []edit{withKey("")}, status: 401, code: "unauthorized"},
	{name: "a wrong key", edits: []edit{withKey("guess")}, status: 401, code: "unauthorized"},
	{name: "a long key", edits: []edit{withKey(strings.Repeat("x", 8<<10))}, status: 401, code: "unauthorized"},
	{name: "the key in another case", edits: []edit{withKey(strings.ToUpper(apiKey))}, status: 401, code: "unauthorized"},
	{name: "a wrong key and then the right one", edits: []edit{func(r *http.Request) {
		r.Header["X-Api-Key"] = []string{"guess", apiKey}
	}}, status: 401, code: "unauthorized"},
	{name: "a wrong key and good Basic", edits: []edit{withBasic(basicUser, basicSecret), withKey("guess")}, status: 401, code: "unauthorized"},
	{name: "the key in the query", edits: []edit{without("X-API-Key"), withPath(eventsPath + "?api_key=" + apiKey)}, status: 401, code: "unauthorized"},
	{name: "the key in a cookie", edits: []edit{without("X-API-Key"), with("Cookie", "X-API-Key="+apiKey)}, status: 401, code: "unauthorized"},
	{name: "a wrong password", edits: []edit{withBasic(basicUser, "guess")}, status: 401, code: "unauthorized"},
	{name: "an empty password", edits: []edit{withBasic(basicUser, "")}, status: 401, code: "unauthorized"},
	{name: "nothing in Basic", edits: []edit{withBasic("", "")}, status: 401, code: "unauthorized"},
	{name: "a client in Basic", edits: []edit{withBasic(clientID, clientSecret)}, status: 401, code: "unauthorized"},
	{name: "the key in Basic", edits: []edit{withBasic("", apiKey)}, status: 401, code: "unauthorized"},
	{name: "Basic without base64", edits: []edit{without("X-API-Key"), with("Authorization", "Basic !!!")}, status: 401, code: "unauthorized"},
	{
		name: "Basic without a colon", edits: []edit{without("X-API-Key"), with("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("acme")))},
		status: 401, code: "unauthorized",
	},
	{name: "a wrong bearer token", edits: []edit{withBearer("guess")}, status: 401, code: "unauthorized"},
	{name: "an empty bearer", edits: []edit{withBearer("")}, status: 401, code: "unauthorized"},
	{name: "a secret as a bearer", edits: []edit{withBearer(clientSecret)}, status: 401, code: "unauthorized"},
	{name: "a long bearer", edits: []edit{withBearer(strings.Repeat("A", 8<<10))}, status: 401, code: "unauthorized"},
	{name: "another scheme", edits: []edit{without("X-API-Key"), with("Authorization", "Negotiate "+apiKey)}, status: 401, code: "unauthorized"},
	{name: "no credentials and no JSON", body: "{", edits: []edit{without("X-API-Key")}, status: 401, code: "unauthorized"},

	{name: "GET", edits: []edit{withMethod(http.MethodGet)}, status: 405, code: "method_not_allowed"},
	{name: "PUT", edits: []edit{withMethod(http.MethodPut)}, status: 405, code: "method_not_allowed"},
	{name: "PATCH", edits: []edit{withMethod(http.MethodPatch)}, status: 405, code: "method_not_allowed"},
	{name: "DELETE", edits: []edit{withMethod(http.MethodDelete)}, status: 405, code: "method_not_allowed"},
	{name: "OPTIONS", edits: []edit{withMethod(http.MethodOptions)}, status: 405, code: "method_not_allowed"},
	{name: "TRACE", edits: []edit{withMethod(http.MethodTrace)}, status: 405, code: "method_not_allowed"},
	{name: "BREW", edits: []edit{withMethod("BREW")}, status: 405, code: "method_not_allowed"},
	{name: "post", edits: []edit{withMethod("post")}, status: 405, code: "method_not_allowed"},

	{name: "the root", edits: []edit{withPath("/")}, status: 404, code: "not_found"},
	{name: "an unknown path", edits: []edit{withPath("/talkdesk/event")}, status: 404, code: "not_found"},
	{name: "an unknown path without credentials", edits: []edit{withPath("/admin"), without("X-API-Key")}, status: 404, code: "not_found"},
	{name: "a slash behind the path", body: automation("slash behind"), edits: []edit{withPath("/talkdesk/events/")}, status: 202},
	{name: "two slashes", body: automation("two slashes"), edits: []edit{withPath("//talkdesk/events")}, status: 202},
	{name: "slashes everywhere", body: automation("slashes everywhere"), edits: []edit{withPath("///talkdesk//events//?x=//")}, status: 202},
	{name: "an encoded slash behind the path", edits: []edit{withPath("/talkdesk/events%2F")}, status: 404, code: "not_found"},
	{name: "encoded slashes before the path", edits: []edit{withPath("/%2F%2Ftalkdesk/events")}, status: 404, code: "not_found"},
	{name: "GET with two slashes", edits: []edit{withMethod(http.MethodGet), withPath("//talkdesk/events")}, status: 404, code: "not_found"},
	{name: "upper case", edits: []edit{withPath("/Talkdesk/Events")}, status: 404, code: "not_found"},
	{name: "an encoded slash", edits: []edit{withPath("/talkdesk%2Fevents")}, status: 404, code: "not_found"},
	{name: "a path with ..", edits: []edit{withPath("/talkdesk/x/../events")}, status: 404, code: "not_found"},
	{name: "an encoded NUL", edits: []edit{withPath("/talkdesk/events%00")}, status: 404, code: "not_found"},
	{name: "invalid UTF-8 in the path", edits: []edit{withPath("/talkdesk/events%FF")}, status: 404, code: "not_found"},
	{name: "a long path", edits: []edit{withPath("/" + strings.Repeat("x", 8<<10))}, status: 404, code: "not_found"},
	{name: "an unused query", body: automation("a query"), edits: []edit{withPath(eventsPath + "?%zz=;&account=globex")}, status: 202},
}

func TestHostileRequests(t *testing.T) {
	s := newSite(t, setup{accounts: []accounts.Account{{Name: account}, withApplication(other, "ours")}})
	for i, test := range append(hostileBodies, hostileHeaders...) {
		t.Run(test.name, func(t *testing.T) {
			body := test.body
			if body == "" && i >= len(hostileBodies) {
				body = automation("never stored")
			}
			before := s.stream(t).CachedInfo().State.Msgs
			got := s.post(t, eventsPath, body, test.edits...)
			if test.code == "" {
				got.wantStatus(t, http.StatusAccepted, "accepted")
				before++
			} else {
				got.WantError(t, test.status, test.code)
			}
			if challenge := got.Header.Get("WWW-Authenticate"); (challenge != "") != (test.status == 401) {
				t.Errorf("WWW-Authenticate: got %q with %d, want one with 401 alone", challenge, test.status)
			}
			if allow := got.Header.Get("Allow"); test.status == 405 && allow != http.MethodPost {
				t.Errorf("Allow: got %q, want POST", allow)
			}
			s.wantStored(t, before)
			s.wantWell(t)
		})
	}
	if log := s.log.String(); strings.Contains(log, "panicked") {
		t.Errorf("log: got a panic, want none:\n%s", log)
	}
}

// wantWell checks that the webhook still accepts a good request.
func (s *site) wantWell(t *testing.T) {
	t.Helper()
	s.post(t, eventsPath, automation("well after "+t.Name())).wantStatus(t, http.StatusAccepted, "accepted")
}

// Ids with special characters of subjects, addresses or pages are valid.
func TestOddInteractionIDs(t *testing.T) {
	s := newSite(t, setup{})
	odd := []string{
		"a.b", "*", "*.>", "roomlink.conversations.>", "a b", "$JS.API.STREAM.DELETE.X", "..", "../../etc/passwd", "a/b", `a\b`,
		"a%2Fb", "<script>alert(1)</script>", `"'`, "a{b", "a}b", "日本語", "👩‍🚀", "é", "e\u0301", "annull-12", "0", "-1", "1e5",
		strings.Repeat("x", 65), strings.Repeat("x", 256), strings.Repeat("é", 128), "~token", "a\u2028b", "\u202Eabc",
	}
	for _, id := range odd {
		got := s.post(t, eventsPath, automation(id)).wantStatus(t, http.StatusAccepted, "accepted")
		if got["interactionId"] != id {
			t.Errorf("interactionId: got %q, want %q", got["interactionId"], id)
		}
		event, err := messages.Decode[messages.Started](s.stored(t, account, id).Data)
		if err != nil || event.Data.InteractionID != id {
			t.Errorf("event: got %+v and error %v, want %q", event.Data, err, id)
		}
	}
	s.wantStored(t, uint64(len(odd)))
}

// The token in the address of a page must not open the API: people share addresses.
func TestPageTokensAreNoBearers(t *testing.T) {
	s := newSite(t, setup{})
	got := s.post(t, eventsPath, automation("a")).wantStatus(t, http.StatusAccepted, "accepted")
	for _, field := range []string{"contextUrl", "customerUrl", "cardUrl"} {
		token := got[field][strings.LastIndexByte(got[field], '/')+1:]
		s.post(t, eventsPath, automation("b"), withBearer(token)).WantError(t, http.StatusUnauthorized, "unauthorized")
	}
	old := s.keys.Sign(access.Claims{Purpose: access.PurposeAccess, Account: account, Subject: clientID})
	s.post(t, eventsPath, automation("b"), withBearer(old)).WantError(t, http.StatusUnauthorized, "unauthorized")
}

// TestRawRequests sends bytes that no client library sends. Each client closes its half
// of the connection, and its event must not get lost.
func TestRawRequests(t *testing.T) {
	s := newSite(t, setup{})
	request := func(headers, body string) string {
		return "POST /talkdesk/events HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-API-Key: " + apiKey + "\r\n" + headers + "\r\n" + body
	}
	const isJSON = "Content-Type: application/json\r\n"
	length := func(n int) string { return fmt.Sprintf("Content-Length: %d\r\n", n) }
	good := automation("raw")
	for _, test := range []struct {
		name, text string
		status     int
		// code is the code of the error; "" if net/http answers, in plain text.
		code string
	}{
		{"a bad percent-encoding", "POST /talkdesk/events%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400, ""},
		{"half a percent-encoding", "POST /talkdesk/events% HTTP/1.1\r\nHost: x\r\n\r\n", 400, ""},
		{"not HTTP", "hello\r\n\r\n", 400, ""},
		{"no host", "POST /talkdesk/events HTTP/1.1\r\n\r\n", 400, ""},
		{"two hosts", request("Host: y\r\n"+isJSON+length(len(good)), good), 400, ""},
		{"a header name with a space", request("X Y: z\r\n"+isJSON+length(len(good)), good), 400, ""},
		{"a folded header without a first line", "POST /talkdesk/events HTTP/1.1\r\n Host: x\r\n\r\n", 400, ""},
		{"a NUL in a header", request("X-Y: \x00\r\n"+isJSON+length(len(good)), good), 400, ""},
		{"two lengths", request(isJSON+length(len(good))+length(3), good), 400, ""},
		{"a negative length", request(isJSON+length(-1), good), 400, ""},
		{"a length that is not a number", request(isJSON+"Content-Length: 1e3\r\n", good), 400, ""},
		{"a header of 64 KiB", request("X-Long: "+strings.Repeat("x", 64<<10)+"\r\n"+isJSON+length(len(good)), good), 431, ""},
		{"an unknown transfer coding", request(isJSON+"Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), 501, ""},
		{"an unknown expectation", request("Expect: a miracle\r\n"+isJSON+length(len(good)), good), 417, ""},
		{"a truncated body", request(isJSON+length(len(good)+10), good), 400, "truncated"},
		{"a malformed chunk", request(isJSON+"Transfer-Encoding: chunked\r\n", "zz\r\n"+good), 400, "truncated"},
		{"a truncated chunk", request(isJSON+"Transfer-Encoding: chunked\r\n", "ff\r\n"+good), 400, "truncated"},
		{"no body", request(isJSON, ""), 400, "empty_body"},
		{"a length less than the body", request(isJSON+length(5), good), 400, "bad_json"},
		// The first of two equal headers counts.
		{"text and then JSON", request("Content-Type: text/plain\r\n"+isJSON+length(len(good)), good), 415, "not_json"},
		{"a full path of another host", strings.Replace(request(isJSON+length(len(good)), good),
			"/talkdesk/events", "http://evil.example/talkdesk/nothing", 1), 404, "not_found"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := s.raw(t, test.text)
			if test.code != "" {
				got.WantError(t, test.status, test.code)
			} else if got.Status != test.status {
				t.Errorf("got %d %s, want %d", got.Status, got.Body, test.status)
			}
			s.wantWell(t)
		})
	}
	s.wantStored(t, 21)

	for name, headers := range map[string]string{
		"json first":   isJSON + "Content-Type: text/plain\r\n",
		"lower case":   "content-type: application/json\r\n",
		"two accounts": isJSON + "X-API-Key: " + otherKey + "\r\n",
	} {
		s.raw(t, request(headers+length(len(automation(name))), automation(name))).wantStatus(t, http.StatusAccepted, "accepted")
		s.stored(t, account, name)
	}
	// Chunks override the length. The bytes after the chunks are no request.
	smuggled := automation("chunks")
	text := request(isJSON+length(3)+"Transfer-Encoding: chunked\r\n",
		fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(smuggled), smuggled)+request(isJSON+length(len(automation("hidden"))), automation("hidden")))
	s.raw(t, text).wantStatus(t, http.StatusAccepted, "accepted")
	s.wantStored(t, 25)
}

// Connections with half a request do not block other requests.
func TestIdleConnections(t *testing.T) {
	s := newSite(t, setup{})
	const idle = 500
	starts := []string{
		"", "POST ", "POST /talkdesk/events HTTP/1.1\r\nHost: x\r\nX-API-Key: " + apiKey,
		"POST /talkdesk/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nX-API-Key: " + apiKey +
			"\r\nContent-Length: 100\r\n\r\n{",
	}
	ctx := roomlinktest.Context(t)
	for i := range idle {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", s.address)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		if _, err := io.WriteString(conn, starts[i%len(starts)]); err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
	}
	s.wantWell(t)
	s.wantStored(t, 1)
}

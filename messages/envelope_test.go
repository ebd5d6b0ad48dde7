package messages_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"roomlink/internal/roomlinktest"
	"roomlink/messages"
)

// contract describes one message type, so that a test runs for all three.
type contract struct {
	eventType string
	data      reflect.Type
	// roundTrip decodes a message and encodes it again.
	roundTrip func([]byte) ([]byte, error)
}

var contracts = []contract{
	{messages.TypeStarted, reflect.TypeFor[messages.Started](), roundTrip[messages.Started]},
	{messages.TypeLinks, reflect.TypeFor[messages.Links](), roundTrip[messages.Links]},
	{messages.TypeDeadLetter, reflect.TypeFor[messages.DeadLetter](), roundTrip[messages.DeadLetter]},
}

func roundTrip[T messages.Data](data []byte) ([]byte, error) {
	e, err := messages.Decode[T](data)
	if err != nil {
		return nil, err
	}
	return e.Encode()
}

// fixtures returns the messages of one type in testdata, by file name.
func fixtures(tb testing.TB, eventType string) map[string][]byte {
	tb.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", eventType+".*.json"))
	if err != nil || len(paths) < 2 {
		tb.Fatalf("fixtures of %q: got %d and error %v, want a full one and a minimal one", eventType, len(paths), err)
	}
	found := map[string][]byte{}
	for _, path := range paths {
		if found[filepath.Base(path)], err = os.ReadFile(path); err != nil {
			tb.Fatalf("reading a fixture: %v", err)
		}
	}
	return found
}

func TestFixturesSurviveDecodingAndEncoding(t *testing.T) {
	for _, c := range contracts {
		for name, want := range fixtures(t, c.eventType) {
			t.Run(name, func(t *testing.T) {
				got, err := c.roundTrip(want)
				if err != nil {
					t.Fatalf("decoding and encoding: %v", err)
				}
				if !reflect.DeepEqual(parse(t, got), parse(t, want)) {
					t.Errorf("message: got %s, want %s", got, want)
				}
				if bytes.Contains(got, []byte(`\u00`)) {
					t.Errorf("message: got %s, want no escaped character", got)
				}
			})
		}
	}
}

func parse(t *testing.T, data []byte) map[string]any {
	t.Helper()
	var doc map[string]any
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatalf("parsing: %v", err)
	}
	return doc
}

func TestDecodeIgnoresUnknownFields(t *testing.T) {
	for _, c := range contracts {
		for name, data := range fixtures(t, c.eventType) {
			want, err := c.roundTrip(data)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			doc := parse(t, data)
			doc["later"] = "x"
			doc["data"].(map[string]any)["later"] = map[string]any{"a": 1}
			got, err := c.roundTrip(marshal(t, doc))
			if err != nil || !reflect.DeepEqual(parse(t, got), parse(t, want)) {
				t.Errorf("%s: got %s and error %v, want %s", name, got, err, want)
			}
		}
	}
}

func marshal(t *testing.T, doc any) []byte {
	t.Helper()
	data, err := json.Marshal(doc)
	if err != nil {
		t.Fatalf("marshalling: %v", err)
	}
	return data
}

// mutation turns a valid document into an invalid one.
type mutation struct {
	// schema is true if the schema refuses the document, too.
	schema bool
	change func(doc, data map[string]any)
}

func set(name string, value any) mutation {
	return mutation{true, func(doc, _ map[string]any) { doc[name] = value }}
}

func setData(name string, value any) mutation {
	return mutation{true, func(_, data map[string]any) { data[name] = value }}
}

// setID sets the interaction id in both places, so that only the id itself is wrong.
func setID(id string) mutation {
	return mutation{true, func(doc, data map[string]any) { doc["subject"], data["interactionId"] = id, id }}
}

// setURL sets a URL and the time of the revocation.
func setURL(name, url, revokedAt string) mutation {
	return mutation{true, func(_, data map[string]any) { data[name], data["revokedAt"] = url, revokedAt }}
}

// without removes a field.
func without(name string) mutation {
	return mutation{true, func(doc, _ map[string]any) { delete(doc, name) }}
}

func withoutData(names ...string) mutation {
	return mutation{true, func(_, data map[string]any) {
		for _, name := range names {
			delete(data, name)
		}
	}}
}

// unseen is a mutation that a schema cannot express, and only Decode refuses.
func unseen(m mutation) mutation {
	m.schema = false
	return m
}

// mutations are the mutations of every type.
var mutations = map[string]mutation{
	"specversion":            set("specversion", "0.3"),
	"no specversion":         without("specversion"),
	"another type":           set("type", "roomlink.links.created.v2"),
	"no type":                without("type"),
	"source without account": set("source", "roomlink/"),
	"source without prefix":  set("source", roomlinktest.Account),
	"another's source":       unseen(set("source", "roomlink/other")),
	"no source":              without("source"),
	"empty id":               set("id", ""),
	"no id":                  without("id"),
	"another subject":        unseen(set("subject", "other")),
	"no subject":             without("subject"),
	"empty time":             set("time", ""),
	"no time":                without("time"),
	"time in words":          set("time", "noon"),
	"time without zone":      set("time", "2026-03-14T12:00:00"),
	"year 10000 in UTC":      unseen(set("time", "9999-12-31T23:59:59-01:00")),
	"no data":                without("data"),
	"data null":              set("data", nil),
	"data a string":          set("data", "x"),
	"bad account":            setData("account", "Acme"),
	"no account":             withoutData("account"),
	"no interaction id":      withoutData("interactionId"),
	"empty interaction id":   setID(""),
	"template":               setID("{{interaction_id}}"),
	"control character":      setID("a\nb"),
	"long interaction id":    setID(strings.Repeat("x", messages.MaxInteractionID+1)),
	"blank interaction id":   unseen(setID("  ")),
	"long only in bytes":     unseen(setID(strings.Repeat("λ", messages.MaxInteractionID/2+1))),
}

// mutationsOf are the mutations of one type's own data.
var mutationsOf = map[string]map[string]mutation{
	messages.TypeStarted: {
		"no customer":      withoutData("customerId"),
		"empty customer":   setData("customerId", ""),
		"negative renews":  setData("renews", -1),
		"half a renewal":   setData("renews", 1.5),
		"negative replays": setData("replays", -1),
		"bad time":         setData("startedAt", "yesterday"),
	},
	messages.TypeLinks: {
		"no agent":          withoutData("agentUrl", "revokedAt"),
		"empty agent":       setURL("agentUrl", "", ""),
		"no ticket":         withoutData("ticketUrl", "revokedAt"),
		"empty ticket":      setURL("ticketUrl", "", ""),
		"revoked agent":     setURL("agentUrl", "https://a", "2026-03-14T13:00:00Z"),
		"revoked recording": setURL("recordingUrl", "https://r", "2026-03-14T13:00:00Z"),
		"revoked ticket":    setURL("ticketUrl", "https://t", "2026-03-14T13:00:00Z"),
		"bad revocation":    setData("revokedAt", "soon"),
		"no generation":     withoutData("generation"),
		"generation 0":      setData("generation", 0),
		"generation -1":     setData("generation", -1),
		"bad expiry":        setData("expiresAt", "soon"),
	},
	messages.TypeDeadLetter: {
		"no reason":       withoutData("reason"),
		"empty reason":    setData("reason", ""),
		"no event":        withoutData("event"),
		"event null":      setData("event", nil),
		"event a number":  setData("event", 42),
		"event an array":  setData("event", []any{}),
		"status in words": setData("httpStatus", "422"),
	},
}

func TestDecodeRefusesInvalidDocuments(t *testing.T) {
	for _, c := range contracts {
		schema := compileSchema(t, c.eventType)
		wrong := maps.Clone(mutations)
		maps.Copy(wrong, mutationsOf[c.eventType])
		maps.Copy(wrong, wrongTypes(t, c.eventType))
		for name, data := range fixtures(t, c.eventType) {
			for _, what := range slices.Sorted(maps.Keys(wrong)) {
				t.Run(name+"/"+what, func(t *testing.T) {
					doc := parse(t, data)
					content := doc["data"].(map[string]any)
					wrong[what].change(doc, content)
					_, err := c.roundTrip(marshal(t, doc))
					if !errors.Is(err, messages.ErrInvalid) {
						t.Errorf("decoding: got error %v, want %v", err, messages.ErrInvalid)
					}
					if err := schema.Validate(doc); (err != nil) != wrong[what].schema {
						t.Errorf("schema: got error %v, want an error: %t", err, wrong[what].schema)
					}
				})
			}
		}
	}
}

// wrongTypes sets every property of a schema to an array. No property is an array.
func wrongTypes(t *testing.T, eventType string) map[string]mutation {
	t.Helper()
	wrong := map[string]mutation{}
	schema := readSchema(t, eventType)
	for name := range schema.Properties {
		wrong["array for "+name] = set(name, []any{})
	}
	for name := range schema.Properties["data"].Properties {
		wrong["array for data "+name] = setData(name, []any{})
	}
	return wrong
}

func TestDecodeRefusesOtherText(t *testing.T) {
	for _, c := range contracts {
		for _, data := range []string{"", "null", "{}", "[]", `"x"`, "42", "{", "\xff", `{"data":{}}`} {
			if _, err := c.roundTrip([]byte(data)); !errors.Is(err, messages.ErrInvalid) {
				t.Errorf("decoding %q as %s: got error %v, want %v", data, c.eventType, err, messages.ErrInvalid)
			}
		}
	}
}

func TestDecodeRefusesOtherTypes(t *testing.T) {
	for _, c := range contracts {
		for _, other := range contracts {
			for name, data := range fixtures(t, other.eventType) {
				_, err := c.roundTrip(data)
				if other.eventType != c.eventType && !errors.Is(err, messages.ErrInvalid) {
					t.Errorf("decoding %s as %s: got error %v, want %v", name, c.eventType, err, messages.ErrInvalid)
				}
			}
		}
	}
}

func TestEncodeRefusesInvalidData(t *testing.T) {
	started, links, letter := roomlinktest.Started("a"), roomlinktest.Links("a", 1), roomlinktest.DeadLetter(t, "a")
	started.Data.CustomerID = ""
	links.Data.Generation = 0
	letter.Data.Event = nil
	withoutID := roomlinktest.Started("a")
	withoutID.ID = ""
	withoutTime := roomlinktest.Started("a")
	withoutTime.Time = messages.Time{}
	for what, e := range map[string]interface{ Encode() ([]byte, error) }{
		"no customer": started, "generation 0": links, "no original": letter,
		"no id": withoutID, "no time": withoutTime, "template": roomlinktest.Started("{{x}}"), "no interaction": roomlinktest.Links("", 1),
	} {
		if data, err := e.Encode(); !errors.Is(err, messages.ErrInvalid) {
			t.Errorf("%s: got %s and error %v, want %v", what, data, err, messages.ErrInvalid)
		}
	}
}

func TestNewEventHasItsOwnID(t *testing.T) {
	if a, b := roomlinktest.Started("a"), roomlinktest.Started("a"); a.ID == "" || a.ID == b.ID {
		t.Errorf("ids: got %q and %q, want two different ones", a.ID, b.ID)
	}
}

func TestMessageHasHeaders(t *testing.T) {
	e := roomlinktest.Started("a")
	msg, err := e.Message("some.subject")
	if err != nil {
		t.Fatalf("encoding a message: %v", err)
	}
	if got := msg.Header.Get("Content-Type"); got != messages.ContentType || msg.Subject != "some.subject" {
		t.Errorf("message: got %q on %q, want %q on %q", got, msg.Subject, messages.ContentType, "some.subject")
	}
	if got, ok := msg.Header[messages.TraceParentHeader]; ok {
		t.Errorf("trace header without tracing: got %q, want none", got)
	}
	e.TraceParent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	if msg, err = e.Message("some.subject"); err != nil {
		t.Fatalf("encoding a message: %v", err)
	}
	if got := msg.Header.Get("traceparent"); got != e.TraceParent {
		t.Errorf("trace header: got %q, want %q", got, e.TraceParent)
	}
	if got := parse(t, msg.Data)["traceparent"]; got != e.TraceParent {
		t.Errorf("trace extension: got %q, want %q", got, e.TraceParent)
	}
}

func TestExplicitZeroTicketExpirationIsKept(t *testing.T) {
	zero := int64(0)
	e := roomlinktest.Started("a")
	e.Data.TicketExpirationSeconds = &zero
	back, err := messages.Decode[messages.Started](roomlinktest.Encode(t, e))
	if err != nil {
		t.Fatalf("decoding: %v", err)
	}
	if got := back.Data.TicketExpirationSeconds; got == nil || *got != 0 {
		t.Errorf("ticket expiration: got %v, want 0", got)
	}
}

func TestDeadLetterContainsItsEvent(t *testing.T) {
	letter := roomlinktest.DeadLetter(t, "a").Data
	original, err := letter.Started()
	if err != nil || original.Data.InteractionID != "a" {
		t.Errorf("original: got %q and error %v, want %q", original.Data.InteractionID, err, "a")
	}
	letter.Event = json.RawMessage(`"no JSON"`)
	if _, err := letter.Started(); !errors.Is(err, messages.ErrInvalid) {
		t.Errorf("unreadable original: got error %v, want %v", err, messages.ErrInvalid)
	}
}

func TestGeneration(t *testing.T) {
	if got := roomlinktest.Started("a").Data.Generation(); got != 1 {
		t.Errorf("first: got %d, want 1", got)
	}
	if got := roomlinktest.Renewal("a", 3).Data.Generation(); got != 4 {
		t.Errorf("renewal of 3: got %d, want 4", got)
	}
}

func TestLinksExpired(t *testing.T) {
	links := roomlinktest.Links("a", 1).Data
	if links.Expired(roomlinktest.Noon.Add(1e9 * time.Second)) {
		t.Error("links of unknown expiry: got expired, want valid")
	}
	links.ExpiresAt = roomlinktest.Noon
	for _, test := range []struct {
		at   time.Time
		want bool
	}{{roomlinktest.Noon.Add(-1), false}, {roomlinktest.Noon.Time, true}, {roomlinktest.Noon.Add(1), true}} {
		if got := links.Expired(test.at); got != test.want {
			t.Errorf("expired at %v: got %t, want %t", test.at, got, test.want)
		}
	}
}

func TestTime(t *testing.T) {
	athens := time.FixedZone("", 2*60*60)
	for _, test := range []struct {
		at   time.Time
		want string
	}{
		{time.Time{}, ""},
		{time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC), "2026-03-14T12:00:00.000Z"},
		{time.Date(2026, 3, 14, 12, 0, 0, 1_999_999, athens), "2026-03-14T10:00:00.001Z"},
	} {
		at := messages.At(test.at)
		if got := at.String(); got != test.want {
			t.Errorf("time %v: got %q, want %q", test.at, got, test.want)
		}
		var back messages.Time
		if err := json.Unmarshal(marshal(t, at), &back); err != nil || !back.Equal(at.Time) {
			t.Errorf("decoding the JSON of %v: got %v and error %v, want the same time", test.at, back, err)
		}
	}
}

func FuzzDecodeStarted(f *testing.F)    { fuzzDecode[messages.Started](f, messages.TypeStarted) }
func FuzzDecodeLinks(f *testing.F)      { fuzzDecode[messages.Links](f, messages.TypeLinks) }
func FuzzDecodeDeadLetter(f *testing.F) { fuzzDecode[messages.DeadLetter](f, messages.TypeDeadLetter) }

// fuzzDecode checks a decoder. It must refuse a message with ErrInvalid, or accept it.
// An accepted message must encode, match the schema, and stay the same from then on.
func fuzzDecode[T messages.Data](f *testing.F, eventType string) {
	for _, data := range fixtures(f, eventType) {
		f.Add(data)
	}
	f.Add([]byte("{}"))
	schema := compileSchema(f, eventType)
	f.Fuzz(func(t *testing.T, data []byte) {
		first, err := roundTrip[T](data)
		if err != nil {
			if !errors.Is(err, messages.ErrInvalid) {
				t.Fatalf("error: got %v, want %v", err, messages.ErrInvalid)
			}
			return
		}
		if err := schema.Validate(instance(t, first)); err != nil {
			t.Fatalf("schema: got error %v for %s, want none", err, first)
		}
		second, err := roundTrip[T](first)
		if err != nil || !bytes.Equal(first, second) {
			t.Fatalf("encoding again: got %s and error %v, want %s", second, err, first)
		}
	})
}

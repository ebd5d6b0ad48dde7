package messages_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"roomlink/internal/roomlinktest"
	"roomlink/messages"
)

// object is the part of a schema that the tests read.
type object struct {
	Description string            `json:"description"`
	Required    []string          `json:"required"`
	Properties  map[string]object `json:"properties"`
	Additional  bool              `json:"additionalProperties"`
}

func readSchema(tb testing.TB, eventType string) object {
	tb.Helper()
	var schema object
	if err := json.Unmarshal(schemaFile(tb, eventType), &schema); err != nil {
		tb.Fatalf("reading the schema of %q: %v", eventType, err)
	}
	return schema
}

func schemaFile(tb testing.TB, eventType string) []byte {
	tb.Helper()
	data, err := messages.Schemas.ReadFile(eventType + ".schema.json")
	if err != nil {
		tb.Fatalf("reading a schema: %v", err)
	}
	return data
}

func compileSchema(tb testing.TB, eventType string) *jsonschema.Schema {
	tb.Helper()
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	if err := compiler.AddResource("schema.json", instance(tb, schemaFile(tb, eventType))); err != nil {
		tb.Fatalf("adding the schema of %q: %v", eventType, err)
	}
	schema, err := compiler.Compile("schema.json")
	if err != nil {
		tb.Fatalf("compiling the schema of %q: %v", eventType, err)
	}
	return schema
}

// instance parses JSON for the schema library.
func instance(tb testing.TB, data []byte) any {
	tb.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		tb.Fatalf("parsing: %v", err)
	}
	return doc
}

func TestEachTypeHasItsSchema(t *testing.T) {
	files, err := fs.Glob(messages.Schemas, "*")
	if err != nil {
		t.Fatalf("listing the schemas: %v", err)
	}
	var want []string
	for _, c := range contracts {
		want = append(want, c.eventType+".schema.json")
	}
	slices.Sort(want)
	if !slices.Equal(files, want) {
		t.Errorf("schemas: got %q, want %q", files, want)
	}
}

func TestFixturesMatchTheirSchema(t *testing.T) {
	for _, c := range contracts {
		schema := compileSchema(t, c.eventType)
		for name, data := range fixtures(t, c.eventType) {
			if err := schema.Validate(instance(t, data)); err != nil {
				t.Errorf("%s: got error %v, want none", name, err)
			}
		}
	}
}

// The messages are minimal ones and ones with extreme values.
func TestEncodedMessagesMatchTheirSchema(t *testing.T) {
	zero := int64(0)
	full := roomlinktest.Renewal("διάλογος", 2)
	full.TraceParent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	full.Data.StartedAt, full.Data.Replays = roomlinktest.Noon, 1
	full.Data.RoomOptions = messages.RoomOptions{"app", "standalone", "org", &zero, "https://video.example"}
	text := roomlinktest.DeadLetter(t, "a")
	text.Data.Event = json.RawMessage(`"no JSON"`)
	matchesSchema(t, messages.TypeStarted, full)
	matchesSchema(t, messages.TypeStarted, messages.NewEvent(roomlinktest.Noon, messages.Started{
		Request: messages.Request{
			Conversation: roomlinktest.Conversation(strings.Repeat("x", messages.MaxInteractionID)), CustomerID: "c",
		},
	}))
	matchesSchema(t, messages.TypeLinks, roomlinktest.ExpiredLinks("a.b"))
	matchesSchema(t, messages.TypeLinks, roomlinktest.RevokedLinks("a.b", 1))
	matchesSchema(t, messages.TypeLinks, messages.NewEvent(roomlinktest.Noon, messages.Links{
		Request: messages.Request{Conversation: roomlinktest.Conversation("a")}, AgentURL: "a", TicketURL: "t", Generation: 1,
	}))
	matchesSchema(t, messages.TypeDeadLetter, roomlinktest.DeadLetter(t, "{id}"))
	matchesSchema(t, messages.TypeDeadLetter, text)
	matchesSchema(t, messages.TypeDeadLetter, messages.NewEvent(roomlinktest.Noon, messages.DeadLetter{
		Conversation: roomlinktest.Conversation("a"), Reason: "r", Event: json.RawMessage(`{}`),
	}))
}

func matchesSchema[T messages.Data](t *testing.T, eventType string, e messages.Event[T]) {
	t.Helper()
	data := roomlinktest.Encode(t, e)
	if err := compileSchema(t, eventType).Validate(instance(t, data)); err != nil {
		t.Errorf("schema of %q: got error %v for %s, want none", eventType, err, data)
	}
}

func TestSchemasMatchTheGoTypes(t *testing.T) {
	for _, c := range contracts {
		t.Run(c.eventType, func(t *testing.T) {
			schema := readSchema(t, c.eventType)
			always, optional := fieldsOf(c.data)
			wantFields(t, "data", schema.Properties["data"], always, optional)
			wantFields(t, "envelope", schema, []string{
				"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "data",
			}, []string{"traceparent"})
		})
	}
}

func wantFields(t *testing.T, what string, schema object, always, optional []string) {
	t.Helper()
	slices.Sort(always)
	if got := slices.Sorted(slices.Values(schema.Required)); !slices.Equal(got, always) {
		t.Errorf("required fields of the %s: got %q, want %q", what, got, always)
	}
	all := slices.Sorted(slices.Values(append(slices.Clone(always), optional...)))
	if got := slices.Sorted(maps.Keys(schema.Properties)); !slices.Equal(got, all) {
		t.Errorf("fields of the %s: got %q, want %q", what, got, all)
	}
	if !schema.Additional {
		t.Errorf("additional fields of the %s: got refused, want allowed", what)
	}
	for name, property := range schema.Properties {
		if !strings.HasSuffix(property.Description, ".") {
			t.Errorf("description of %q: got %q, want a sentence", name, property.Description)
		}
	}
}

// fieldsOf returns the JSON names of a struct's fields, including those of embedded
// structs.
func fieldsOf(data reflect.Type) (always, optional []string) {
	for _, field := range reflect.VisibleFields(data) {
		if field.Anonymous {
			continue
		}
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if options == "omitempty" || options == "omitzero" {
			optional = append(optional, name)
		} else {
			always = append(always, name)
		}
	}
	return always, optional
}

// A minimal fixture has exactly the required fields. A full one has all fields but those that
// other fixtures add.
func TestFixturesHaveTheFieldsOfTheirSchema(t *testing.T) {
	for _, c := range contracts {
		schema := readSchema(t, c.eventType)
		files := fixtures(t, c.eventType)
		minimal := parse(t, files[c.eventType+".minimal.json"])
		full := parse(t, files[c.eventType+".full.json"])
		if revoked, ok := files[c.eventType+".revoked.json"]; ok {
			maps.Copy(full["data"].(map[string]any), parse(t, revoked)["data"].(map[string]any))
		}
		wantKeys(t, c.eventType+" minimal", minimal, schema.Required)
		wantKeys(t, c.eventType+" minimal data", minimal["data"], schema.Properties["data"].Required)
		wantKeys(t, c.eventType+" full", full, slices.Collect(maps.Keys(schema.Properties)))
		wantKeys(t, c.eventType+" full data", full["data"],
			slices.Collect(maps.Keys(schema.Properties["data"].Properties)))
	}
}

func wantKeys(t *testing.T, what string, doc any, want []string) {
	t.Helper()
	got := slices.Sorted(maps.Keys(doc.(map[string]any)))
	if slices.Sort(want); !slices.Equal(got, want) {
		t.Errorf("fields of %s: got %q, want %q", what, got, want)
	}
}

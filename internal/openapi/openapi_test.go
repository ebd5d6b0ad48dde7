package openapi_test

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"roomlink/internal/openapi"
)

// location is the URL of the document for the compiler of its schemas.
const location = "openapi.json"

func TestDocumentIsOpenAPI(t *testing.T) {
	document := object(t, read(t))
	if got, _ := document["openapi"].(string); !strings.HasPrefix(got, "3.1.") {
		t.Errorf("got openapi %q, want 3.1", got)
	}
	if got, _ := object(t, document["info"])["version"].(string); got == "" {
		t.Error("got no version in info, want one")
	}
}

func TestHandler(t *testing.T) {
	router := chi.NewRouter()
	openapi.Routes(router)
	server := httptest.NewServer(router)
	defer server.Close()
	for method, want := range map[string]struct {
		status int
		body   string
	}{
		http.MethodGet:  {http.StatusOK, string(openapi.Document())},
		http.MethodHead: {http.StatusOK, ""},
		http.MethodPost: {http.StatusMethodNotAllowed, ""},
	} {
		t.Run(method, func(t *testing.T) {
			request, err := http.NewRequestWithContext(t.Context(), method, server.URL+"/openapi.json", nil)
			if err != nil {
				t.Fatal(err)
			}
			response, err := server.Client().Do(request)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			if err != nil || response.StatusCode != want.status || string(body) != want.body {
				t.Fatalf("got %d with %d bytes, %v, want %d with %d", response.StatusCode, len(body), err, want.status, len(want.body))
			}
			if want.status != http.StatusOK {
				return
			}
			for name, want := range map[string]string{
				"Content-Type":           "application/json",
				"Content-Length":         strconv.Itoa(len(openapi.Document())),
				"Cache-Control":          "public, max-age=3600",
				"X-Content-Type-Options": "nosniff",
			} {
				if got := response.Header.Get(name); got != want {
					t.Errorf("got %s %q, want %q", name, got, want)
				}
			}
		})
	}
}

func TestDocumentIsNotShared(t *testing.T) {
	openapi.Document()[0] = 'x'
	if got := openapi.Document()[0]; got != '{' {
		t.Errorf("got %q after a write to a copy, want '{'", got)
	}
}

func TestComponentSchemasCompile(t *testing.T) {
	compiler := newCompiler(t)
	for name := range schemas(t) {
		if _, err := compiler.Compile(location + "#/components/schemas/" + name); err != nil {
			t.Errorf("compiling %s: %v", name, err)
		}
	}
}

// TestExamples checks every example of a body, parameter or header against its schema.
func TestExamples(t *testing.T) {
	compiler := newCompiler(t)
	checked := 0
	walk(read(t), "", func(pointer string, node map[string]any) {
		examples := examplesOf(node)
		if _, ok := node["schema"]; !ok || len(examples) == 0 {
			return
		}
		schema, err := compiler.Compile(location + "#" + pointer + "/schema")
		if err != nil {
			t.Errorf("compiling the schema at %s: %v", pointer, err)
			return
		}
		for name, example := range examples {
			checked++
			if err := schema.Validate(example); err != nil {
				t.Errorf("%s: example %q: %v", pointer, name, err)
			}
		}
	})
	const minExamples = 40
	if checked < minExamples {
		t.Errorf("got %d examples, want at least %d", checked, minExamples)
	}
}

// TestEventStreamExamples checks the data of server-sent events against their schema.
func TestEventStreamExamples(t *testing.T) {
	compiler := newCompiler(t)
	checked := 0
	walk(read(t), "", func(pointer string, node map[string]any) {
		if !strings.HasSuffix(pointer, "/text~1event-stream") {
			return
		}
		schema, err := compiler.Compile(location + "#" + pointer + "/schema/contentSchema")
		if err != nil {
			t.Fatal(err)
		}
		for name, example := range examplesOf(node) {
			text, _ := example.(string)
			for line := range strings.Lines(text) {
				data, ok := strings.CutPrefix(line, "data: ")
				if !ok {
					continue
				}
				checked++
				state, err := jsonschema.UnmarshalJSON(strings.NewReader(data))
				if err != nil {
					t.Fatalf("example %q: %v", name, err)
				}
				if err := schema.Validate(state); err != nil {
					t.Errorf("example %q: %v", name, err)
				}
			}
		}
	})
	if checked == 0 {
		t.Error("got no server-sent event, want some")
	}
}

// TestSchemasRefuse checks that the schemas refuse invalid answers, such as those with unknown fields.
func TestSchemasRefuse(t *testing.T) {
	compiler := newCompiler(t)
	for name, answer := range map[string]string{
		"EventAnswer":  `{"status":"accepted","interactionId":"i","contextUrl":"","customerUrl":"","cardUrl":"","more":""}`,
		"LinksAnswer":  `{"status":"ready","interactionId":"i"}`,
		"RoomResponse": `{"agentUrl":"https://a.example","recordingUrl":null,"ticketUrl":"https://a.example"}`,
		"RoomRequest":  `{"applicationId":"a","cdestination":"standalone","customerId":"c"}`,
		"Error":        `{"error":"no_such_code","error_description":"text"}`,
		"URL":          `"not a URL"`,
		"Time":         `"yesterday"`,
	} {
		schema, err := compiler.Compile(location + "#/components/schemas/" + name)
		if err != nil {
			t.Fatal(err)
		}
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(answer))
		if err != nil {
			t.Fatal(err)
		}
		if schema.Validate(value) == nil {
			t.Errorf("%s accepts %s, want a refusal", name, answer)
		}
	}
}

func TestReferencesResolve(t *testing.T) {
	document := read(t)
	walk(document, "", func(pointer string, node map[string]any) {
		if ref, ok := node["$ref"].(string); ok && resolve(document, ref) == nil {
			t.Errorf("%s: %q does not resolve", pointer, ref)
		}
	})
}

func TestEveryFieldIsDescribed(t *testing.T) {
	walk(schemas(t), "", func(pointer string, node map[string]any) {
		if !strings.HasSuffix(pointer, "/properties") {
			return
		}
		for name, field := range node {
			if text, _ := object(t, field)["description"].(string); !strings.HasSuffix(text, ".") {
				t.Errorf("%s/%s: got description %q, want a sentence", pointer, name, text)
			}
		}
	})
}

// TestRoomRequestEqualsWebhooks compares the request with the schema of the webhook: fields, types,
// titles and required fields.
func TestRoomRequestEqualsWebhooks(t *testing.T) {
	file, err := os.ReadFile("../../webhook/room-request.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := jsonschema.UnmarshalJSON(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	want, got := object(t, decoded), object(t, schemas(t)["RoomRequest"])
	for _, key := range []string{"type", "required", "additionalProperties"} {
		if got, want := text(t, got[key]), text(t, want[key]); got != want {
			t.Errorf("%s: got %s, want %s", key, got, want)
		}
	}
	gotFields, wantFields := object(t, got["properties"]), object(t, want["properties"])
	gotNames, wantNames := slices.Sorted(maps.Keys(gotFields)), slices.Sorted(maps.Keys(wantFields))
	if !slices.Equal(gotNames, wantNames) {
		t.Fatalf("got fields %q, want %q", gotNames, wantNames)
	}
	for name := range wantFields {
		for _, key := range []string{"title", "type"} {
			if got, want := object(t, gotFields[name])[key], object(t, wantFields[name])[key]; got != want {
				t.Errorf("%s of %s: got %v, want %v", key, name, got, want)
			}
		}
	}
}

// read decodes the document.
func read(t *testing.T) any {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(openapi.Document()))
	if err != nil {
		t.Fatalf("decoding the document: %v", err)
	}
	return document
}

// schemas returns the schemas of the components.
func schemas(t *testing.T) map[string]any {
	t.Helper()
	return object(t, object(t, object(t, read(t))["components"])["schemas"])
}

// newCompiler returns a compiler for the schemas in the document.
func newCompiler(t *testing.T) *jsonschema.Compiler {
	t.Helper()
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	compiler.AssertFormat()
	if err := compiler.AddResource(location, read(t)); err != nil {
		t.Fatal(err)
	}
	return compiler
}

// examplesOf returns the examples of a body, parameter or header.
func examplesOf(node map[string]any) map[string]any {
	found := map[string]any{}
	if example, ok := node["example"]; ok {
		found["example"] = example
	}
	examples, _ := node["examples"].(map[string]any)
	for name, example := range examples {
		if example, ok := example.(map[string]any); ok {
			found[name] = example["value"]
		}
	}
	return found
}

// escape writes a name as a part of a JSON pointer (RFC 6901, section 3).
var escape = strings.NewReplacer("~", "~0", "/", "~1")

// walk visits every object of a document, except inside examples.
func walk(node any, pointer string, visit func(pointer string, node map[string]any)) {
	switch node := node.(type) {
	case map[string]any:
		visit(pointer, node)
		for name, child := range node {
			if name != "examples" && name != "example" {
				walk(child, pointer+"/"+escape.Replace(name), visit)
			}
		}
	case []any:
		for i, child := range node {
			walk(child, pointer+"/"+strconv.Itoa(i), visit)
		}
	}
}

// resolve returns the target of a reference in the document, or nil.
func resolve(node any, ref string) any {
	rest, ok := strings.CutPrefix(ref, "#/")
	if !ok {
		return nil
	}
	for name := range strings.SplitSeq(rest, "/") {
		parent, _ := node.(map[string]any)
		node = parent[strings.NewReplacer("~1", "/", "~0", "~").Replace(name)]
	}
	return node
}

func object(t *testing.T, value any) map[string]any {
	t.Helper()
	found, ok := value.(map[string]any)
	if !ok {
		t.Fatalf("got %v, want an object", value)
	}
	return found
}

// text returns a value as JSON.
func text(t *testing.T, value any) string {
	t.Helper()
	encoded, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(encoded)
}

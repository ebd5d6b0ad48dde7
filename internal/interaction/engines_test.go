package interaction_test

import (
	"html"
	"os"
	"strings"
	"testing"
	"text/template"

	"github.com/cbroglie/mustache"
	"github.com/flosch/pongo2/v6"

	"roomlink/internal/interaction"
)

// engine is a template engine. print fails for a template that the engine cannot read.
type engine struct {
	name string
	// placeholders have "NAME" where the name of the variable belongs.
	placeholders []string
	print        func(text string, values map[string]any) (string, error)
}

// engines are engines of other projects. They decide what is filled in.
var engines = []engine{
	{"text/template", []string{"{{.NAME}}", "{{ .NAME }}", "{{- .NAME -}}", "{{ .NAME | print }}"}, delimited("", "")},
	{"text/template with <% %>", []string{"<%.NAME%>", "<% .NAME %>"}, delimited("<%", "%>")},
	{"text/template with [[ ]]", []string{"[[.NAME]]", "[[ .NAME ]]"}, delimited("[[", "]]")},
	{"text/template with %{ }", []string{"%{.NAME}", "%{ .NAME }"}, delimited("%{", "}")},
	{"text/template with #{ }", []string{"#{.NAME}"}, delimited("#{", "}")},
	{"Mustache", []string{"{{NAME}}", "{{ NAME }}", "{{{NAME}}}", "{{& NAME }}", "{{=<% %>=}}<% NAME %>"}, func(
		text string, values map[string]any,
	) (string, error) {
		return mustache.Render(text, values)
	}},
	{"Jinja", []string{"{{ NAME }}", "{{NAME}}", "{{ NAME|safe }}", "{% if NAME %}{{ NAME|safe }}{% endif %}"}, func(
		text string, values map[string]any,
	) (string, error) {
		parsed, err := pongo2.FromString(text)
		if err != nil {
			return "", err
		}
		return parsed.Execute(values)
	}},
	{"a shell", []string{"${NAME}", "$NAME"}, func(text string, values map[string]any) (string, error) {
		return os.Expand(text, func(name string) string {
			value, _ := values[name].(string)
			return value
		}), nil
	}},
	{"a shell that keeps unknown names", []string{"${NAME}", "$NAME"}, func(text string, values map[string]any) (string, error) {
		return os.Expand(text, func(name string) string {
			if value, ok := values[name].(string); ok {
				return value
			}
			return "${" + name + "}"
		}), nil
	}},
}

// delimited returns text/template with other delimiters.
func delimited(left, right string) func(string, map[string]any) (string, error) {
	return func(text string, values map[string]any) (string, error) {
		parsed, err := template.New("").Delims(left, right).Parse(text)
		if err != nil {
			return "", err
		}
		var printed strings.Builder
		err = parsed.Execute(&printed, values)
		return printed.String(), err
	}
}

// TestEngines prints templates. A value that an engine filled in is an id. The rest is
// refused: a missing value, the template of another engine, and a template that lost one end
// before or after it was printed.
func TestEngines(t *testing.T) {
	taken, refused := 0, 0
	for _, name := range []string{"interaction_id", "conversationId", "id"} {
		for _, e := range engines {
			for _, id := range realIDs {
				for _, text := range e.named(name) {
					if printed := e.fill(text, map[string]any{name: id}); printed == id || html.UnescapeString(printed) == id {
						taken++
						wantTaken(t, e.name+" "+text, printed)
					} else {
						t.Errorf("%s: got %q from %s, want it to fill in %q", e.name, printed, text, id)
					}
				}
			}
			for _, of := range engines {
				for _, text := range of.named(name) {
					for _, values := range []map[string]any{{}, {name: nil}} {
						left := cuts(e.fill(text, values))
						for _, part := range cuts(text) {
							// os.Expand drops the "${" of half a placeholder. A part of a name alone may be an id.
							if printed := e.fill(part, values); printed == "" || !strings.Contains(name, printed) {
								left = append(left, printed)
							}
						}
						for _, printed := range left {
							refused++
							wantRefused(t, e.name+" "+text, printed)
						}
					}
				}
			}
		}
	}
	if taken < 1000 || refused < 1000 {
		t.Errorf("printed texts: got %d with a value and %d without, want thousands", taken, refused)
	}
}

// named returns the placeholders with a name.
func (e engine) named(name string) []string {
	var named []string
	for _, placeholder := range e.placeholders {
		named = append(named, strings.ReplaceAll(placeholder, "NAME", name))
	}
	return named
}

// fill prints a template. It returns the template itself if the engine cannot read it, like
// a program that sends it all the same.
func (e engine) fill(text string, values map[string]any) string {
	printed, err := e.print(text, values)
	if err != nil {
		return text
	}
	return printed
}

// cuts returns a text, and each beginning and end of it that has a character of a delimiter.
func cuts(text string) []string {
	left := []string{text}
	for i := 1; i < len(text); i++ {
		for _, part := range []string{text[:i], text[i:]} {
			if strings.ContainsAny(part, "{}<>[]%$#") {
				left = append(left, part)
			}
		}
	}
	return left
}

func wantTaken(t *testing.T, from, printed string) {
	t.Helper()
	if got, err := interaction.ID(printed); err != nil || got != strings.TrimSpace(printed) {
		t.Errorf("%s: got %q and error %v for %q, want the id", from, got, err, printed)
	}
}

func wantRefused(t *testing.T, from, printed string) {
	t.Helper()
	if got, err := interaction.ID(printed); err == nil {
		t.Errorf("%s: got id %q, want %q refused", from, got, printed)
	}
}

package messages_test

import (
	"reflect"
	"slices"
	"testing"

	"roomlink/messages"
)

// A field that events and links share must be in Request: then code that copies the
// request cannot forget the field.
func TestEventsAndLinksShareOnlyTheirRequest(t *testing.T) {
	for _, data := range []any{messages.Started{}, messages.Links{}} {
		if field, ok := reflect.TypeOf(data).FieldByName("Request"); !ok || !field.Anonymous {
			t.Errorf("%T: got no embedded Request, want one", data)
		}
	}
	own := func(data any) (names []string) {
		for _, field := range reflect.VisibleFields(reflect.TypeOf(data)) {
			if len(field.Index) == 1 && !field.Anonymous {
				names = append(names, field.Name)
			}
		}
		return names
	}
	links := own(messages.Links{})
	for _, name := range own(messages.Started{}) {
		if slices.Contains(links, name) {
			t.Errorf("field %s: got it in Started and in Links, want it in Request", name)
		}
	}
}

package settings_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"goranch/internal/settings"
)

func TestSchema(t *testing.T) {
	spec := settings.Spec{
		Keys:   settings.Keys(options{}, kinds),
		Tables: []settings.Table{{Name: "group", Named: true, Help: "A group."}, {Name: "listener", Help: "A listener.", Tables: []settings.Table{{Name: "route", Help: "A route."}}}},
	}
	table := func(help string) map[string]any {
		return map[string]any{"type": "object", "additionalProperties": false, "description": help, "properties": map[string]any{}}
	}
	listener := table("A listener.")
	listener["properties"] = map[string]any{"route": map[string]any{"type": "array", "items": table("A route.")}}
	text := map[string]any{"type": []any{"string"}}
	want := map[string]any{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "test", "type": "object", "additionalProperties": false,
		"properties": map[string]any{
			"max-conns": map[string]any{"type": "integer", "minimum": 1.0, "default": 100.0, "description": "Connections. Default: 100."},
			"hosts":     map[string]any{"anyOf": []any{text, map[string]any{"type": "array", "items": text}}, "description": "Hosts, as with --other; see quiet."},
			"quiet":     map[string]any{"type": []any{"boolean"}, "default": false, "description": "Print nothing."},
			"group":     map[string]any{"type": "object", "additionalProperties": table("A group.")},
			"listener":  map[string]any{"type": "array", "items": listener},
		},
	}
	var got map[string]any
	if err := json.Unmarshal(spec.Schema("test"), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNotation(t *testing.T) {
	for _, c := range []struct{ kind, text, want string }{
		{"count", "5", "5"}, {"text", "5", `"5"`}, {"text", "a\"\\\n", `"a\"\\\n"`}, {"bool", "true", "true"},
		{"rate", "0.5", "0.5"}, {"rate", "unlimited", `"unlimited"`},
	} {
		k := settings.Key{Kind: kinds[c.kind]}
		if got := k.Notation(c.text); got != c.want {
			t.Errorf("%s %q: got %s, want %s", c.kind, c.text, got, c.want)
		}
	}
}

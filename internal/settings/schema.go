package settings

import (
	"encoding/json"
	"maps"
	"strconv"
)

// Schema returns the JSON schema (draft 2020-12) of the files that Parse accepts, for editors.
func (s *Spec) Schema(title string) []byte {
	b, err := json.MarshalIndent(map[string]any{
		"$schema": "https://json-schema.org/draft/2020-12/schema",
		"title":   title, "type": "object", "additionalProperties": false, "properties": propertiesOf(s.Keys, s.Tables),
	}, "", "  ")
	if err != nil {
		panic(err) // a schema of a kind that JSON cannot express
	}
	return append(b, '\n')
}

// propertiesOf returns the schemas of the keys and tables in a table.
func propertiesOf(keys []Key, tables []Table) map[string]any {
	properties := map[string]any{}
	for _, k := range keys {
		properties[k.Name] = k.schema()
	}
	for _, t := range tables {
		table := map[string]any{"type": "object", "additionalProperties": false, "description": t.Help, "properties": propertiesOf(t.Keys, t.Tables)}
		switch {
		case t.Single:
			properties[t.Name] = table
		case t.Named:
			properties[t.Name] = map[string]any{"type": "object", "additionalProperties": table}
		default:
			properties[t.Name] = map[string]any{"type": "array", "items": table}
		}
	}
	return properties
}

func (k Key) schema() map[string]any {
	one := maps.Clone(k.Kind.Schema)
	if one == nil {
		one = map[string]any{}
	}
	if len(one) == 0 {
		types := []string{}
		for _, t := range k.Kind.Types {
			types = append(types, jsonType(t))
		}
		one["type"] = types
	}
	if k.Kind.List {
		one = map[string]any{"anyOf": []any{one, map[string]any{"type": "array", "items": one}}}
	}
	one["description"] = k.Help
	if k.Default != "" {
		one["default"] = k.defaultValue()
	}
	return one
}

func jsonType(t Type) string {
	if t == Float {
		return "number"
	}
	return string(t)
}

// defaultValue returns the default as a value of the first type that it can have.
func (k Key) defaultValue() any {
	for _, t := range k.Kind.Types {
		switch t {
		case Integer:
			if n, err := strconv.ParseInt(k.Default, 10, 64); err == nil {
				return n
			}
		case Float:
			if x, err := strconv.ParseFloat(k.Default, 64); err == nil {
				return x
			}
		case Bool:
			if b, err := strconv.ParseBool(k.Default); err == nil {
				return b
			}
		case String:
			return k.Default
		}
	}
	return k.Default
}

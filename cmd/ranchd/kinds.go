package main

import (
	"strconv"
	"strings"

	"goranch/internal/settings"
)

// kinds are the kinds of settings. Their schemas accept the values that the parsers in values.go
// accept; TestSchemaAgreesWithParsers compares them.
var kinds = map[string]settings.Kind{
	"text":     {Types: texts, Allowed: "texts", Schema: schemaOf("string")},
	"file":     {Types: texts, Allowed: "names of files and directories", Schema: schemaOf("string")},
	"list":     {Types: texts, List: true, Allowed: "texts", Schema: schemaOf("string")},
	"files":    {Types: texts, List: true, Allowed: "names of files", Schema: schemaOf("string")},
	"networks": {Types: texts, List: true, Allowed: "networks such as 10.0.0.0/8, addresses, and local", Schema: schemaOf("string")},
	"prefix":   {Types: texts, Allowed: "networks such as 10.0.0.0/8 and addresses", Schema: schemaOf("string")},
	"bool":     {Types: []settings.Type{settings.Bool}, Allowed: "true and false", Schema: schemaOf("boolean")},

	"number":    {Types: numbers, Allowed: "the numbers 0 to 2147483647", Schema: integers(0, 1<<31-1)},
	"positive":  {Types: numbers, Allowed: "the numbers 1 to 2147483647", Schema: integers(1, 1<<31-1)},
	"frame":     {Types: numbers, Allowed: "the numbers 256 to 2147483647", Schema: integers(256, 1<<31-1)},
	"acceptors": {Types: numbers, Allowed: "the numbers 1 to 10000", Schema: integers(1, maxAcceptors)},
	"bits4":     {Types: numbers, Allowed: "the numbers 1 to 32", Schema: integers(1, 32)},
	"bits6":     {Types: numbers, Allowed: "the numbers 1 to 128", Schema: integers(1, 128)},
	"limit": {Types: append(numbers, settings.String), Strict: true, Allowed: "the numbers 1 to 2147483647, and unlimited",
		Schema: anyOf(integers(1, 1<<31-1), words("unlimited"))},
	"fraction": {Types: []settings.Type{settings.Float, settings.Integer}, Allowed: "fractions such as 0.9, up to 1, and 0",
		Schema: map[string]any{"type": "number", "minimum": 0, "maximum": 1}},
	"rate": {Types: []settings.Type{settings.Integer, settings.Float, settings.String}, Strict: true,
		Allowed: `numbers per second such as 100 or 0.5, with a burst such as "100:20", and unlimited`,
		Schema: anyOf(map[string]any{"type": "number", "exclusiveMinimum": 0, "maximum": 1e9}, words("unlimited"),
			pattern(`^(0*[1-9][0-9]{0,8}(\.[0-9]+)?|0*\.0*[1-9][0-9]*|0+\.0*[1-9][0-9]*):0*[1-9][0-9]{0,8}$`))},
	"mode": {Types: texts, Strict: true, Allowed: `octal numbers in quotes, "0001" to "0777"`, Schema: pattern(`^(0o)?0*([1-7][0-7]{0,2})$`)},

	"duration":  {Types: texts, Allowed: "durations such as 500ms, 5s or 2m", Schema: pattern(positives)},
	"duration0": {Types: append(texts, settings.Integer), Allowed: "0, and durations such as 500ms, 5s or 2m", Schema: anyOf(words("0", 0), pattern(durations))},
	"processes": {Types: numbers, Allowed: "the numbers 2 to 100", Schema: integers(2, 100)},

	"time":   {Types: texts, Allowed: "durations such as 500ms, 5s or 2m, and infinity", Schema: anyOf(words("infinity"), pattern(positives))},
	"time0":  {Types: append(texts, settings.Integer), Allowed: "0, durations such as 500ms, 5s or 2m, and infinity", Schema: anyOf(words("infinity", "0", 0), pattern(durations))},
	"pace":   {Types: append(texts, settings.Integer), Allowed: "0 and durations such as 500ms, 5s or 2m, up to 24h0m0s", Schema: anyOf(words("0", 0), pattern(durations))},
	"refuse": {Types: append(texts, settings.Integer), Allowed: "0, durations such as 500ms, 5s or 2m, and infinity", Schema: anyOf(words("infinity", "never", "0", 0), pattern(durations))},

	"replicas": {Types: numbers, Allowed: "the numbers 1 to 5", Schema: integers(1, 5)},
	"sync":     {Types: texts, Allowed: "durations such as 500ms, 5s or 2m, and always", Schema: anyOf(words("always"), pattern(positives))},

	"tls":      choice("1.2", "1.3"),
	"sni":      choice("default", "refuse"),
	"ids":      choice("random", "djb"),
	"level":    choice("debug", "info", "warn", "error"),
	"format":   choice("auto", "text", "color", "json"),
	"evict":    choice("none", "oldest", "most-idle", "random"),
	"protocol": choice("echo", "shell", "topics", "packet", "web", "relay", "admin", "admin-http"),
	"header":   choice("none", "v1", "v2"),
}

var (
	texts   = []settings.Type{settings.String}
	numbers = []settings.Type{settings.Integer}
)

// Patterns of durations in the usual forms.
const (
	units     = `(ns|us|µs|ms|s|m|h)`
	notZero   = `([0-9]*[1-9][0-9]*(\.[0-9]+)?|[0-9]+\.[0-9]*[1-9][0-9]*)` + units
	anyNumber = `([0-9]+(\.[0-9]+)?` + units + `)`
	positives = `^` + anyNumber + `*` + notZero + anyNumber + `*$`
	durations = `^` + anyNumber + `+$`
)

func schemaOf(t string) map[string]any { return map[string]any{"type": t} }

func integers(from, to int) map[string]any {
	return map[string]any{"type": "integer", "minimum": from, "maximum": to}
}

func pattern(p string) map[string]any { return map[string]any{"type": "string", "pattern": p} }

func words(w ...any) map[string]any { return map[string]any{"enum": w} }

func anyOf(schemas ...map[string]any) map[string]any {
	list := make([]any, len(schemas))
	for i := range schemas {
		list[i] = schemas[i]
	}
	return map[string]any{"anyOf": list}
}

// choice returns the kind of a setting with these values.
func choice(w ...string) settings.Kind {
	quoted, enum := make([]string, len(w)), make([]any, len(w))
	for i := range w {
		quoted[i], enum[i] = w[i], w[i]
		if _, err := strconv.ParseFloat(w[i], 64); err == nil {
			quoted[i] = strconv.Quote(w[i]) // a number without quotes is another value
		}
	}
	last := len(quoted) - 1
	return settings.Kind{Types: texts, Strict: true, Allowed: strings.Join(quoted[:last], ", ") + " and " + quoted[last], Schema: words(enum...)}
}

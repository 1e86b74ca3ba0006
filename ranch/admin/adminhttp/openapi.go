package adminhttp

import (
	"encoding/json"
	"maps"
	"strconv"
	"strings"

	"goranch/protocol/shell"
)

// operation is what the OpenAPI description says about a route.
type operation struct {
	summary, text string
	parameters    []parameter
	body          any // schema of the body: the name of a component, or an object; nil: no body
	answers       answers
}

type parameter struct{ name, kind, help string }

// answers are the answers of a route by status, without those that every route with credentials
// has.
type answers map[string]answer

// answer is a body: its type, and the component that describes it in JSON, or a description.
type answer struct{ kind, schema string }

var jsonError = answer{"application/json", "Error"}

func plainAnswer(statuses ...int) answers {
	a := answers{}
	for _, s := range statuses {
		a[strconv.Itoa(s)] = answer{"text/plain", "A line, or one for each condition."}
	}
	if _, refuses := a["401"]; refuses {
		a["401"] = jsonError
	}
	return a
}

// object is a JSON object of the description.
type object = map[string]any

// commandAnswers are the answers of commands, by GET and by POST.
func commandAnswers() answers {
	return answers{
		"200": {"application/json", "Result"}, "400": jsonError, "422": jsonError, "500": jsonError, "503": jsonError,
	}
}

func aboutGet(c *shell.Command) operation {
	o := operation{summary: firstLine(c.Help), text: c.Help, answers: commandAnswers()}
	if c.Raw {
		o.parameters = []parameter{{"value", "string", "The value."}}
		return o
	}
	for _, f := range c.Flags {
		kind := "string"
		if f.Value == "" {
			kind = "boolean"
		}
		o.parameters = append(o.parameters, parameter{f.Name, kind, f.Help})
	}
	if c.MaxArgs != 0 {
		o.parameters = append(o.parameters, parameter{"arg", "string", "An argument; may be repeated: " + c.Usage})
	}
	return o
}

// aboutPost describes a command by POST. Its answer can also be a stream.
func aboutPost(c *shell.Command) operation {
	o := operation{summary: firstLine(c.Help), text: c.Help, answers: commandAnswers()}
	o.answers["408"], o.answers["413"], o.answers["415"] = jsonError, jsonError, jsonError
	if c.Raw {
		o.body = object{"type": "object", "additionalProperties": false, "properties": object{"value": object{"type": "string"}}}
		return o
	}
	args := object{"type": "array", "items": object{"type": "string"}, "description": c.Usage}
	if c.MinArgs > 0 {
		args["minItems"] = c.MinArgs
	}
	if c.MaxArgs >= 0 {
		args["maxItems"] = c.MaxArgs
	}
	flags := object{}
	for _, f := range c.Flags {
		schema := object{"description": f.Help}
		switch {
		case f.Choices != nil:
			schema["enum"] = f.Choices
		case f.Value == "":
			schema["type"] = "boolean"
		default:
			schema["type"] = []string{"string", "number"}
		}
		flags[f.Name] = schema
	}
	o.body = object{"type": "object", "additionalProperties": false, "properties": object{
		"args": args, "flags": object{"type": "object", "additionalProperties": false, "properties": flags},
	}}
	if c.MinArgs > 0 {
		o.body.(object)["required"] = []string{"args"}
	}
	return o
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// describe returns the OpenAPI description of all routes.
func (h *Handler) describe() ([]byte, error) {
	paths := object{}
	for _, r := range h.routes {
		item, _ := paths[r.path].(object)
		if item == nil {
			item = object{}
			paths[r.path] = item
		}
		item[strings.ToLower(r.method)] = r.describe()
	}
	return json.Marshal(object{
		"openapi": "3.1.0",
		"info":    object{"title": "goranch operators' API", "version": h.opts.Version},
		"paths":   paths,
		"components": object{
			"schemas":         schemas,
			"securitySchemes": object{"token": object{"type": "http", "scheme": "bearer"}},
		},
	})
}

func (r *route) describe() object {
	o := object{"summary": r.about.summary, "responses": r.responses()}
	if r.about.text != "" {
		o["description"] = r.about.text
	}
	parameters := []object{}
	for _, p := range r.about.parameters {
		parameters = append(parameters, object{"name": p.name, "in": "query", "description": p.help, "schema": object{"type": p.kind}})
	}
	if _, name, ok := strings.Cut(r.path, "{"); ok {
		parameters = append(parameters, object{"name": strings.TrimSuffix(name, "}"), "in": "path", "required": true, "schema": object{"type": "string"}})
	}
	if len(parameters) > 0 {
		o["parameters"] = parameters
	}
	if r.about.body != nil {
		o["requestBody"] = object{"content": object{"application/json": object{"schema": schemaOf(r.about.body)}}}
	}
	if r.open == nil {
		o["security"] = []object{{"token": []string{}}, {}}
	}
	return o
}

// responses returns the answers of a route, with those that the checks of requests give.
func (r *route) responses() object {
	all := maps.Clone(r.about.answers)
	all["403"] = jsonError
	if r.open == nil {
		all["401"], all["429"] = jsonError, jsonError
	}
	if r.method == "POST" {
		all["408"], all["413"], all["415"] = jsonError, jsonError, jsonError
	}
	responses := object{}
	for status, a := range all {
		responses[status] = a.describe(r.method == "POST" && status == "200" && a.schema == "Result")
	}
	return responses
}

func (a answer) describe(streams bool) object {
	switch {
	case a.kind == "":
		return object{"description": a.schema}
	case a.kind != "application/json":
		return object{"description": a.schema, "content": object{a.kind: object{"schema": object{"type": "string"}}}}
	case a.schema == "":
		return object{"description": "A JSON object.", "content": object{a.kind: object{"schema": object{"type": "object"}}}}
	}
	content := object{a.kind: object{"schema": schemaOf(a.schema)}}
	if streams {
		content[streamType] = object{"schema": schemaOf("Line")}
	}
	return object{"description": a.schema, "content": content}
}

// schemaOf returns a schema, or a reference to the component of that name.
func schemaOf(v any) any {
	if name, ok := v.(string); ok {
		return object{"$ref": "#/components/schemas/" + name}
	}
	return v
}

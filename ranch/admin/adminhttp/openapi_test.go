package adminhttp_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"goranch/protocol/shell"
	"goranch/ranch/admin/adminhttp"
)

// description is the part of an OpenAPI description that the tests use.
type description struct {
	OpenAPI    string
	Paths      map[string]map[string]operation
	Components struct{ Schemas map[string]any }
}

type operation struct {
	Summary    string
	Parameters []struct {
		Name, In string
		Schema   map[string]any
	}
	RequestBody *struct {
		Content map[string]struct{ Schema any }
	}
	Responses map[string]struct {
		Description string
		Content     map[string]struct{ Schema any }
	}
}

func (s *testServer) description() (d description) {
	s.t.Helper()
	a := s.do("GET", "/openapi.json", "")
	if err := json.Unmarshal([]byte(a.body), &d); err != nil || a.status != 200 {
		s.t.Fatalf("/openapi.json: got %d, %v, want a description", a.status, err)
	}
	return d
}

// Every route is described, and every described path is served.
func TestDescriptionListsAllRoutes(t *testing.T) {
	s := newTestServer(t, adminhttp.Options{Commands: []shell.Command{talk()}})
	d := s.description()
	if d.OpenAPI != "3.1.0" {
		t.Errorf("openapi: got %q, want 3.1.0", d.OpenAPI)
	}
	var described []string
	for path, item := range d.Paths {
		for method, o := range item {
			described = append(described, strings.ToUpper(method)+" "+path)
			if o.Summary == "" || len(o.Responses) == 0 {
				t.Errorf("%s %s: got the summary %q and %d answers, want both", method, path, o.Summary, len(o.Responses))
			}
		}
	}
	routes := adminhttp.Routes(s.handler)
	slices.Sort(described)
	slices.Sort(routes)
	if !slices.Equal(routes, described) {
		t.Errorf("described routes: got %q, want %q", described, routes)
	}
	for _, want := range []string{"GET /livez", "GET /readyz", "GET /metrics", "GET /status", "GET /connections", "GET /sources", "GET /events", "POST /commands/kill", "POST /commands/cap", "POST /commands/drain"} {
		if !slices.Contains(described, want) {
			t.Errorf("description: got no %s, want it", want)
		}
	}
}

// Answers of the handlers have the statuses, types and members that the description promises.
func TestAnswersMatchTheDescription(t *testing.T) {
	s := newTestServer(t, adminhttp.Options{Commands: []shell.Command{talk()}, Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		io.WriteString(w, "up 1\n")
	})})
	s.dial(10)
	id := s.listener("echo").Connections()[0].ID
	d := s.description()
	ticket := s.handler.Ticket(shell.User{Name: "x", Role: shell.Viewer}, time.Minute)
	requests := []struct{ method, path, body string }{
		{"GET", "/connection?arg=" + fmt.Sprint(id), ""}, {"GET", "/connections?limit=1&reverse=true", ""}, {"GET", "/limits?arg=none", ""},
		{"GET", "/debug/pprof/allocs", ""}, {"GET", "/debug/pprof/none", ""}, {"GET", "/debug/pprof/trace?seconds=no", ""}, {"GET", "/debug/pprof/profile?seconds=1", ""},
		{"GET", "/events?kinds=none", ""}, {"GET", "/top?count=1&interval=100ms", ""},
		{"POST", "/session", `{"ticket":"` + ticket + `"}`}, {"POST", "/session", `{}`}, {"POST", "/session", `{"x":1}`},
		{"POST", "/commands/cap", `{"args":["echo","9"]}`}, {"POST", "/commands/cap", `{"args":["echo","x"]}`}, {"POST", "/commands/cap", `{"args":["none","1"]}`},
		{"POST", "/commands/limit", `{"args":["echo","idle-timeout=5m"]}`}, {"POST", "/commands/talk", `{}`}, {"POST", "/commands/talk", `{"args":["panic"]}`},
		{"POST", "/commands/kill", `{"args":["` + fmt.Sprint(id) + `"]}`}, {"POST", "/commands/sessions", `{"flags":{"list":true,"limit":5}}`},
	}
	for path, item := range d.Paths { // each command and path without arguments
		for method := range item {
			long := path == "/events" || path == "/top" || strings.HasSuffix(path, "/top") || strings.HasSuffix(path, "/trace") || strings.Contains(path, "{")
			if !long && method != "delete" {
				requests = append(requests, struct{ method, path, body string }{strings.ToUpper(method), path, map[string]string{"post": "{}"}[method]})
			}
		}
	}
	for _, token := range []string{operatorToken, "wrong", ""} {
		for _, r := range requests {
			var header []string
			if token != "" {
				header = []string{"Authorization", "Bearer " + token}
			}
			path, _, _ := strings.Cut(r.path, "?")
			if strings.HasPrefix(path, "/debug/pprof/") && path != "/debug/pprof/" {
				path = "/debug/pprof/{name}"
			}
			d.check(t, fmt.Sprintf("%s %s %s with token %q", r.method, r.path, r.body, token), d.Paths[path][strings.ToLower(r.method)], s.do(r.method, r.path, r.body, header...))
		}
	}
}

// check compares an answer with the description of its operation.
func (d *description) check(t *testing.T, what string, o operation, a answer) {
	t.Helper()
	described, ok := o.Responses[fmt.Sprint(a.status)]
	if !ok {
		t.Errorf("%s: got status %d with %s, want one of %v", what, a.status, a.body, slices.Sorted(maps.Keys(o.Responses)))
		return
	}
	kind, _, _ := strings.Cut(a.header.Get("Content-Type"), ";")
	content, ok := described.Content[kind]
	if !ok && kind == "text/plain" { // a profile as text
		content, ok = described.Content["application/octet-stream"]
	}
	if !ok {
		t.Errorf("%s: got the type %q with status %d, want one of %v", what, kind, a.status, slices.Sorted(maps.Keys(described.Content)))
		return
	}
	if kind != "application/json" {
		return
	}
	var v any
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Errorf("%s: got %s, want JSON: %v", what, a.body, err)
		return
	}
	for _, fault := range d.faults("", content.Schema, v) {
		t.Errorf("%s: got %s: %s", what, a.body, fault)
	}
}

// faults compares a value with a schema, as far as the description uses JSON Schema.
func (d *description) faults(at string, schema, v any) (all []string) {
	s, _ := schema.(map[string]any)
	if ref, ok := s["$ref"].(string); ok {
		name := strings.TrimPrefix(ref, "#/components/schemas/")
		if d.Components.Schemas[name] == nil {
			return []string{"no schema " + name}
		}
		return d.faults(at, d.Components.Schemas[name], v)
	}
	if values, ok := s["enum"].([]any); ok && !slices.Contains(values, v) {
		all = append(all, fmt.Sprintf("%s: %v is not in %v", at, v, values))
	}
	kind, limited := s["type"].(string)
	switch v := v.(type) {
	case map[string]any:
		if limited && kind != "object" {
			return append(all, at+": is an object, want "+kind)
		}
		properties, _ := s["properties"].(map[string]any)
		required, _ := s["required"].([]any)
		for _, name := range required {
			if _, ok := v[name.(string)]; !ok {
				all = append(all, fmt.Sprintf("%s: no member %v", at, name))
			}
		}
		for name, member := range v {
			if properties[name] == nil {
				if s["additionalProperties"] == false {
					all = append(all, at+": unknown member "+name)
				}
				continue
			}
			all = append(all, d.faults(at+"."+name, properties[name], member)...)
		}
	case []any:
		if limited && kind != "array" {
			return append(all, at+": is an array, want "+kind)
		}
		for i, e := range v {
			all = append(all, d.faults(fmt.Sprintf("%s[%d]", at, i), s["items"], e)...)
		}
	case string:
		if limited && kind != "string" {
			all = append(all, at+": is a string, want "+kind)
		}
	case float64:
		if limited && kind != "number" && kind != "integer" {
			all = append(all, at+": is a number, want "+kind)
		}
	case bool:
		if limited && kind != "boolean" {
			all = append(all, at+": is a boolean, want "+kind)
		}
	}
	return all
}

// A wrong answer is a fault.
func TestDescriptionFaults(t *testing.T) {
	s := newTestServer(t, adminhttp.Options{})
	d := s.description()
	schema := map[string]any{"$ref": "#/components/schemas/Error"}
	for body, want := range map[string]int{
		`{"error":{"message":"x"}}`: 0, `{"error":{"message":1}}`: 1, `{"error":{}}`: 1, `{}`: 1, `{"error":{"message":"x","more":1},"x":[]}`: 2, `{"error":[]}`: 1,
	} {
		var v any
		if err := json.Unmarshal([]byte(body), &v); err != nil {
			t.Fatal(err)
		}
		if got := d.faults("", schema, v); len(got) != want {
			t.Errorf("faults of %s: got %q, want %d", body, got, want)
		}
	}
}

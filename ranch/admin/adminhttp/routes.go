package adminhttp

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"goranch/internal/nearest"
	"goranch/protocol/shell"
)

// route is a path that the handler serves. The OpenAPI description is made of the same list.
type route struct {
	method, path string
	open         http.HandlerFunc // without credentials; nil: serve
	role         shell.Role
	serve        func(http.ResponseWriter, *request)
	about        operation
}

// addRoutes registers all paths.
func (h *Handler) addRoutes() {
	h.routes = slices.Concat(h.probeRoutes(), h.infoRoutes(), h.loginRoutes())
	for i := range h.opts.Commands {
		c := &h.opts.Commands[i]
		h.routes = append(h.routes, route{method: "POST", path: "/commands/" + c.Name, role: shell.Guest, serve: h.post(c), about: aboutPost(c)})
		if path := "/" + c.Name; !c.Changes && !h.has(path) {
			h.routes = append(h.routes, route{method: "GET", path: path, role: shell.Guest, serve: h.get(c), about: aboutGet(c)})
		}
	}
	for _, r := range h.routes {
		if r.open != nil {
			h.mux.HandleFunc(r.method+" "+r.path, r.open)
		} else {
			h.mux.HandleFunc(r.method+" "+r.path, h.withRole(r.role, r.serve))
		}
	}
	if !h.opts.NoPage {
		h.addPage()
	}
	h.mux.HandleFunc("POST /commands/{name}", h.withRole(shell.Guest, h.serveUnknownCommand))
	h.mux.HandleFunc("/", h.serveUnknown)
}

func (h *Handler) has(path string) bool {
	return slices.ContainsFunc(h.routes, func(r route) bool { return r.path == path })
}

func (h *Handler) probeRoutes() []route {
	return []route{
		{method: "GET", path: "/livez", open: serveLive, about: operation{
			summary: "Whether the process serves requests.", answers: plainAnswer(200)}},
		{method: "GET", path: "/readyz", open: h.serveReady, about: operation{
			summary: "Whether all listeners accept connections and all checks succeed. Verbose answers require the role viewer.",
			parameters: []parameter{
				{"verbose", "boolean", "List each condition."},
				{"exclude", "string", "The name of a condition to ignore; may be repeated."},
			}, answers: plainAnswer(200, 401, 503)}},
	}
}

func (h *Handler) infoRoutes() []route {
	return []route{
		{method: "GET", path: "/metrics", role: shell.Viewer, serve: h.serveMetrics, about: operation{
			summary: "The metrics of the program.", answers: answers{"200": {"text/plain", "The metrics, in the format that the program provides."}, "404": jsonError}}},
		{method: "GET", path: "/events", role: shell.Viewer, serve: h.serveEvents, about: operation{
			summary:    "A stream of server-sent events: stats, listener, connection and lost.",
			parameters: []parameter{{"kinds", "string", "The kinds of events, separated by commas: " + strings.Join(eventKinds, ", ") + ". Default: stats,listeners."}},
			answers:    answers{"200": {"text/event-stream", "Events with data in JSON."}, "400": jsonError, "503": jsonError}}},
		{method: "GET", path: "/commands", role: shell.Viewer, serve: h.serveCommands, about: operation{
			summary: "The commands.", answers: answers{"200": {"application/json", "Commands"}}}},
		{method: "GET", path: "/openapi.json", role: shell.Viewer, serve: h.serveOpenAPI, about: operation{
			summary: "This description.", answers: answers{"200": {"application/json", ""}}}},
		{method: "GET", path: "/debug/pprof/", role: shell.Operator, serve: serveProfiles, about: operation{
			summary: "The names of the profiles.", answers: plainAnswer(200)}},
		{method: "GET", path: "/debug/pprof/{name}", role: shell.Operator, serve: h.serveProfile, about: operation{
			summary: "A profile.",
			parameters: []parameter{
				{"seconds", "integer", "The duration of profile and trace, up to 300. Default: 10."},
				{"debug", "integer", "1 or 2: other profiles as text."},
				{"gc", "boolean", "Collect garbage before a profile of the heap."},
			}, answers: answers{"200": {"application/octet-stream", "The profile."}, "400": jsonError, "404": jsonError, "409": jsonError}}},
	}
}

func (h *Handler) loginRoutes() []route {
	return []route{
		{method: "GET", path: "/session", role: shell.Guest, serve: h.serveLogin, about: operation{
			summary: "The user and the role of the client.", answers: answers{"200": {"application/json", "Session"}}}},
		{method: "POST", path: "/session", role: shell.Guest, serve: h.logIn, about: operation{
			summary: "Log in with a ticket, which becomes worthless.", body: "Ticket",
			answers: answers{"200": {"application/json", "Session"}, "400": jsonError}}},
		{method: "DELETE", path: "/session", role: shell.Guest, serve: h.logOut, about: operation{
			summary: "End the login whose token the request has.", answers: answers{"204": {"", "The login has ended."}}}},
	}
}

func (h *Handler) serveMetrics(w http.ResponseWriter, r *request) {
	if h.opts.Metrics == nil {
		refuse(w, http.StatusNotFound, fmt.Errorf("the program provides no metrics"))
		return
	}
	h.opts.Metrics.ServeHTTP(w, r.Request)
}

func (h *Handler) serveOpenAPI(w http.ResponseWriter, _ *request) {
	writeBody(w, http.StatusOK, "application/json", h.openAPI)
}

// serveUnknownCommand answers for a command that does not exist.
func (h *Handler) serveUnknownCommand(w http.ResponseWriter, r *request) {
	name := r.PathValue("name")
	var names []string
	for _, c := range h.opts.Commands {
		if c.Role <= r.user.Role {
			names = append(names, c.Name)
		}
	}
	refuse(w, http.StatusNotFound, &shell.Error{
		Code: shell.CodeUnknown, Message: fmt.Sprintf("unknown command %.100q", name), Suggestion: nearest.Name(name, names),
	})
}

// serveUnknown answers for a path that does not exist, or not with this method.
func (h *Handler) serveUnknown(w http.ResponseWriter, r *http.Request) {
	var methods []string
	for _, known := range h.routes {
		if known.path == r.URL.Path {
			methods = append(methods, known.method)
		}
	}
	if methods != nil {
		w.Header().Set("Allow", strings.Join(methods, ", "))
		refuse(w, http.StatusMethodNotAllowed, fmt.Errorf("method %.20q: allowed are %s", r.Method, strings.Join(methods, ", ")))
		return
	}
	refuse(w, http.StatusNotFound, fmt.Errorf("no path %.100q; /openapi.json lists all", r.URL.Path))
}

// commandInfo describes a command for clients.
type commandInfo struct {
	Name    string     `json:"name"`
	Usage   string     `json:"usage"`
	Help    string     `json:"help"`
	Role    string     `json:"role"`
	Allowed bool       `json:"allowed"` // for the client
	Changes bool       `json:"changes"`
	Flags   []flagInfo `json:"flags"`
}

type flagInfo struct {
	Name    string   `json:"name"`
	Value   string   `json:"value,omitempty"` // placeholder; absent: a switch
	Help    string   `json:"help"`
	Choices []string `json:"choices,omitempty"`
}

func (h *Handler) serveCommands(w http.ResponseWriter, r *request) {
	list := []commandInfo{}
	for _, c := range h.opts.Commands {
		i := commandInfo{
			Name: c.Name, Usage: strings.TrimRight(c.Name+" "+c.Usage, " "), Help: c.Help, Role: c.Role.String(),
			Allowed: c.Role <= r.user.Role, Changes: c.Changes, Flags: []flagInfo{},
		}
		for _, f := range c.Flags {
			i.Flags = append(i.Flags, flagInfo{f.Name, f.Value, f.Help, f.Choices})
		}
		list = append(list, i)
	}
	writeJSON(w, http.StatusOK, map[string]any{"commands": list})
}

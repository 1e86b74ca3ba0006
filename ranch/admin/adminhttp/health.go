package adminhttp

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"goranch/internal/termtext"
	"goranch/protocol/shell"
	"goranch/ranch"
)

// serveLive answers that the process serves requests.
func serveLive(w http.ResponseWriter, _ *http.Request) {
	writeBody(w, http.StatusOK, "text/plain; charset=utf-8", []byte("ok\n"))
}

// condition is a condition of readiness.
type condition struct {
	name  string
	fault string // "" is met
}

// serveReady answers whether all listeners accept connections and all checks succeed. Probes have
// no credentials, so only viewers see which condition is not met.
func (h *Handler) serveReady(w http.ResponseWriter, r *http.Request) {
	excluded := r.URL.Query()["exclude"]
	conditions := h.conditions(r.Context(), excluded)
	var b strings.Builder
	status := http.StatusOK
	for _, c := range conditions {
		if c.fault == "" {
			fmt.Fprintf(&b, "[+] %s: ok\n", termtext.Line(c.name))
			continue
		}
		status = http.StatusServiceUnavailable
		fmt.Fprintf(&b, "[-] %s: %s\n", termtext.Line(c.name), termtext.Line(c.fault))
	}
	summary := "ready\n"
	if status != http.StatusOK {
		summary = "not ready\n"
	}
	if _, verbose := r.URL.Query()["verbose"]; !verbose {
		writeBody(w, status, "text/plain; charset=utf-8", []byte(summary))
		return
	}
	h.withRole(shell.Viewer, func(w http.ResponseWriter, _ *request) {
		writeBody(w, status, "text/plain; charset=utf-8", []byte(b.String()+summary))
	})(w, r)
}

// conditions returns the conditions of readiness except those with an excluded name.
func (h *Handler) conditions(ctx context.Context, excluded []string) (all []condition) {
	add := func(name string, fault func() string) {
		if !slices.Contains(excluded, name) {
			all = append(all, condition{name, fault()})
		}
	}
	listeners := h.opts.Server.Listeners()
	for _, l := range listeners {
		add("listener "+l.Ref(), func() string {
			if s := l.Status(); s != ranch.Running {
				return string(s)
			}
			return ""
		})
	}
	if len(listeners) == 0 {
		add("listeners", func() string { return "the server has none" })
	}
	if h.ctx.Err() != nil {
		add("shutdown", func() string { return errShutdown.Error() })
	}
	for _, name := range slices.Sorted(maps.Keys(h.opts.Checks)) {
		add(name, func() string {
			if err := h.opts.Checks[name](ctx); err != nil {
				return err.Error()
			}
			return ""
		})
	}
	return all
}

package adminhttp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"runtime/pprof"
	"runtime/trace"
	"slices"
	"strconv"
	"strings"
	"time"

	"goranch/protocol/shell"
)

// Package net/http/pprof would register its handlers in http.DefaultServeMux, from which a program
// that imports this package may serve other clients.

// maxProfileTime is the longest duration of a profile, in seconds.
const maxProfileTime = 300

// serveProfiles lists the profiles.
func serveProfiles(w http.ResponseWriter, _ *request) {
	names := []string{"profile", "trace"}
	for _, p := range pprof.Profiles() {
		names = append(names, p.Name())
	}
	slices.Sort(names)
	writeBody(w, http.StatusOK, "text/plain; charset=utf-8", []byte(strings.Join(names, "\n")+"\n"))
}

// serveProfile writes one profile: "profile" of the CPU and "trace" for the time in the parameter
// seconds, others at once, as text with debug=1 or 2.
func (h *Handler) serveProfile(w http.ResponseWriter, r *request) {
	name := r.PathValue("name")
	rc := http.NewResponseController(w)
	rc.SetWriteDeadline(time.Time{})
	switch name {
	case "profile", "trace":
		seconds, err := intParameter(r, "seconds", 10, 1, maxProfileTime)
		if err != nil {
			refuse(w, http.StatusBadRequest, err)
			return
		}
		h.timedProfile(w, r, name, time.Duration(seconds)*time.Second)
		return
	}
	p := pprof.Lookup(name)
	if p == nil {
		refuse(w, http.StatusNotFound, fmt.Errorf("no profile %.100q", name))
		return
	}
	debug, err := intParameter(r, "debug", 0, 0, 2)
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	if name == "heap" && r.URL.Query().Get("gc") != "" {
		runtime.GC()
	}
	kind := "application/octet-stream"
	if debug > 0 {
		kind = "text/plain; charset=utf-8"
	}
	w.Header().Set("Content-Type", kind)
	p.WriteTo(w, debug)
}

// timedProfile records a profile for d, or until the client disconnects. The process can record
// only one of each kind at a time.
func (h *Handler) timedProfile(w http.ResponseWriter, r *request, name string, d time.Duration) {
	start, stop := pprof.StartCPUProfile, pprof.StopCPUProfile
	if name == "trace" {
		start, stop = trace.Start, trace.Stop
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	if err := start(w); err != nil {
		refuse(w, http.StatusConflict, errors.New("another profile of this kind is being recorded"))
		return
	}
	defer stop()
	wait(r.Context(), h.ctx, d)
}

// wait waits for d, or until one of the contexts ends.
func wait(a, b context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-a.Done():
	case <-b.Done():
	}
}

func intParameter(r *request, name string, defaultValue, lowest, highest int) (int, error) {
	s := r.URL.Query().Get(name)
	if s == "" {
		return defaultValue, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < lowest || n > highest {
		return 0, shell.Usage("parameter %s %.100q: allowed are the numbers %d to %d", name, s, lowest, highest)
	}
	return n, nil
}

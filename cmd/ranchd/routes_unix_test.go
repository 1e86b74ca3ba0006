//go:build unix

package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/transport"
)

// serveTLS starts an upstream with the certificate of p that sends its name, and echoes.
func serveTLS(t *testing.T, name string, p pair, protocols ...string) (addr string) {
	t.Helper()
	return serveName(t, name, &tls.Config{Certificates: []tls.Certificate{p.tls}, NextProtos: protocols})
}

// route returns the table of a route.
func route(keys ...string) string { return "[[listener.route]]\n" + strings.Join(keys, "\n") + "\n" }

// relayListener returns the table of a listener.
func relayListener(name string, keys ...string) string {
	return "[[listener]]\nname = '" + name + "'\naddress = 'tcp://127.0.0.1:0'\nprotocol = 'relay'\n" + strings.Join(keys, "\n") + "\n"
}

// TestRoutesOfProgram routes real TLS clients to two servers with different certificates, in the
// built program.
func TestRoutesOfProgram(t *testing.T) {
	dir := t.TempDir()
	certA, certB := newPair(t, dir, "a.test"), newPair(t, dir, "b.test")
	a, a2, b, plain := serveTLS(t, "a", certA), serveTLS(t, "a2", certA), serveTLS(t, "b", certB, "imap"), serveName(t, "plain", nil)
	file := filepath.Join(dir, "r.toml")
	write := func(upstreamOfA string) {
		t.Helper()
		routes := route("server-name = 'A.test'", "upstream = '"+upstreamOfA+"'") + route("server-name = '*.test'", "alpn = 'imap'", "upstream = '"+b+"'")
		text := "quiet = true\nlog-format = 'json'\nlog-level = 'debug'\ndrain-idle = '10ms'\n" + relayListener("front", "upstream = '"+plain+"'") + routes + relayListener("strict") + routes
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(a)
	p := &process{cmd: exec.Command(buildProgram(t), "-c", file)}
	p.cmd.Env = append(slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "RANCHD_") }), "RANCHD_ADMIN=none", "RANCHD_ADMIN_HTTP=none")
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.log
	p.start(t)
	front, strict := p.log.addr(t, "front"), p.log.addr(t, "strict")

	toA, toB := certA.client("a.test"), certB.client("b.test")
	toB.Config.NextProtos = []string{"imap"}
	open := dial(t, toA, front)
	wantName(t, open, "a")
	wantName(t, dial(t, toB, front), "b")
	wantName(t, dial(t, toB, strict), "b")
	nc := dial(t, transport.TCP{}, front)
	io.WriteString(nc, "hello")
	wantName(t, nc, "plain")
	const unrecognizedName = "unrecognized name" // the text of crypto/tls for the alert
	if _, err := certB.client("b.test").Dial(t.Context(), strict); err == nil || !strings.Contains(err.Error(), unrecognizedName) {
		t.Errorf("unknown server name: got %v, want the alert %q", err, unrecognizedName) // it offers no ALPN
	}

	nc = dial(t, transport.TCP{}, strict)
	io.WriteString(nc, "hello")
	if n, err := nc.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Errorf("without TLS and without a default: got %d bytes and %v, want the end of the connection", n, err)
	}

	write(a2)
	p.cmd.Process.Signal(syscall.SIGHUP)
	p.log.event(t, "configuration changed", map[string]any{"listener": "front", "key": "route a.test: upstream", "before": a, "after": a2, "effect": "changed now"})
	p.log.event(t, "configuration reloaded", map[string]any{"changes": 2.0})
	next := dial(t, toA, front)
	wantName(t, next, "a2")
	checkEcho(t, next)
	checkEcho(t, open)
	open.Close()
	wantLabels(t, &p.log, "sni=a.test", "upstream="+a)
	p.cmd.Process.Signal(syscall.SIGTERM)
	p.wantExit(t, exitOK)
}

// wantLabels waits for the end of a connection with these labels.
func wantLabels(t *testing.T, log *output, labels ...string) {
	t.Helper()
	log.line(t, fmt.Sprintf("a connection that ended with the labels %q", labels), func(line string) bool {
		return strings.Contains(line, "connection ended") && !slices.ContainsFunc(labels, func(l string) bool { return !strings.Contains(line, `"label":"`+l+`"`) })
	})
}

// wantUpstreams compares relay, upstream, state, and connections of the command upstreams.
func (c *configured) wantUpstreams(t *testing.T, when string, want ...string) {
	t.Helper()
	var got []string
	for _, row := range c.upstreams().Rows {
		got = append(got, fmt.Sprintf("%v: %v %v %v", row[0], row[1], row[2], row[3]))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: command upstreams (-want +got):\n%s", when, diff)
	}
}

// wantChecks compares which relays, alternating with the wanted results, have health checks.
func (c *configured) wantChecks(t *testing.T, want ...any) {
	t.Helper()
	var got []any
	for _, s := range c.allServices() {
		if s.routing != nil {
			for _, n := range s.routing.all() {
				got = append(got, n.name, n.Options().Check.Interval > 0)
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("relays with health checks (-want +got):\n%s", diff)
	}
}

// Routes are added, changed and removed while connections continue; relays of routes that stay are
// kept, with their figures.
func TestReloadRoutes(t *testing.T) {
	cert := newPair(t, t.TempDir(), "a.test")
	a, b, plain := serveTLS(t, "a", cert, "x"), serveTLS(t, "b", cert, "x"), serveName(t, "plain", nil)
	front := relayListener("r", "health-interval = '1m'", "upstream = '"+plain+"'")
	c := startConfigured(t, front)
	first := c.dial(t, "r")
	wantName(t, first, "plain")
	client := cert.client("a.test")
	client.Config.NextProtos = []string{"x"}
	addr := c.listener(t, "r").Addr().String()

	c.wantChanges(t, front+route("server-name = 'a.test'", "alpn = 'x'", "upstream = '"+a+"'"),
		"r route a.test x: server-name: -> a.test: changed now", "r route a.test x: alpn: -> x: changed now", "r route a.test x: upstream: -> "+a+": changed now")
	second := dial(t, client, addr)
	wantName(t, second, "a")
	changed := front + route("server-name = ['a.test', '*.a.test']", "alpn = 'x'", "upstream = '"+b+"'")
	c.wantChanges(t, changed,
		"r route a.test x: server-name: a.test -> a.test *.a.test: changed now", "r route a.test x: upstream: "+a+" -> "+b+": changed now")
	third := dial(t, client, addr)
	wantName(t, third, "b")
	if _, err := c.reload(t, front+route("server-name = 'a.test'")); err == nil {
		t.Error("reload: got no error for a route without upstream")
	}
	c.wantUpstreams(t, "changed route", "r: "+plain+" up 1", "r/a.test x: "+b+" up 1", "r/a.test x: "+a+" removed 1")

	if _, err := c.reload(t, front); err != nil {
		t.Fatal(err)
	}
	c.wantUpstreams(t, "removed route", "r: "+plain+" up 1", "r/a.test x: "+b+" removed 1", "r/a.test x: "+a+" removed 1")
	c.wantChecks(t, "r", true, "r/a.test x", false)
	if _, err := c.reload(t, changed); err != nil {
		t.Fatal(err)
	}
	c.wantChecks(t, "r", true, "r/a.test x", true)
	c.wantUpstreams(t, "the same route again", "r: "+plain+" up 1", "r/a.test x: "+b+" up 1", "r/a.test x: "+a+" removed 1")
	w := httptest.NewRecorder()
	c.metrics().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if line := `goranch_upstream_connections{relay="r/a.test x",upstream="` + b + `"} 1`; !strings.Contains(w.Body.String(), line+"\n") {
		t.Errorf("metrics: got no line %s, want it", line)
	}
	for _, nc := range []net.Conn{first, second, third} {
		checkEcho(t, nc)
	}
	c.wantChanges(t, relayListener("r", "health-interval = '1m'")+strings.TrimPrefix(changed, front), "r upstream: "+plain+" -> : changed now")
	c.wantUpstreams(t, "without a default", "r: "+plain+" removed 1", "r/a.test x: "+b+" up 1", "r/a.test x: "+a+" removed 1")
	for _, nc := range []net.Conn{first, second, third} {
		nc.Close()
	}
	for _, upstream := range []string{a, b, plain} {
		wantLabels(t, &c.program.log, "upstream="+upstream)
	}
	c.wantUpstreams(t, "without connections", "r/a.test x: "+b+" up 0")
}

// Upstreams of routes have health checks of their own, which end with the route.
func TestRoutesHaveHealthChecks(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	closed := ln.Addr().String()
	front := relayListener("r", "health-interval = '10ms'", "health-fall = 1", "upstream = '"+serveName(t, "plain", nil)+"'")
	c := startConfigured(t, front+route("server-name = ''", "upstream = '"+closed+"'"))
	c.program.log.event(t, "upstream is not used", map[string]any{"relay": "r/-", "upstream": closed, "state": "down"})
	if _, err := c.reload(t, front); err != nil {
		t.Fatal(err)
	}
	if got := len(c.relays()); got != 1 {
		t.Errorf("relays after the route was removed: got %d, want 1", got)
	}
}

// Connections of routes continue while their listener stops, as those of other relays do.
func TestRoutesDrain(t *testing.T) {
	front := relayListener("r", "drain-idle = 'infinity'", "upstream = '"+serveName(t, "plain", nil)+"'")
	c := startConfigured(t, front+route("server-name = 'a.test'", "upstream = '10.0.0.1:1'"))
	nc, l := c.dial(t, "r"), c.listener(t, "r")
	io.WriteString(nc, "x")
	wantName(t, nc, "plainx")
	drained := make(chan error, 1)
	go func() { drained <- l.Drain(t.Context()) }()
	for !l.Connections()[0].Ending {
		time.Sleep(time.Millisecond)
	}
	checkEcho(t, nc)
	nc.Close()
	if err := <-drained; err != nil {
		t.Errorf("drain: got %v, want no error", err)
	}
}

func TestRouteChanges(t *testing.T) {
	front := relayListener("r", "upstream = '10.0.0.1:1'")
	a, b, any := route("server-name = 'a.test'", "upstream = '10.0.0.2:1'"), route("server-name = ''", "upstream = '10.0.0.3:1'"), route("alpn = ['x', 'y']", "upstream = '10.0.0.4:1'")
	for _, tt := range []struct {
		name, before, after string
		want                []string
	}{
		{"same", a + b + any, a + b + any, nil},
		{"removed", a + any, a, []string{"route * x,y: alpn: x y -> ", "route * x,y: upstream: 10.0.0.4:1 -> "}},
		{"order", a + b + any, any + b + a, []string{"order of routes: a.test; -; * x,y -> * x,y; -; a.test"}},
		{"order with others", a + b, any + b + a,
			[]string{"route * x,y: alpn:  -> x y", "route * x,y: upstream:  -> 10.0.0.4:1", "order of routes: a.test; - -> -; a.test"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			parsed := func(routes string) *listenerConfig {
				return mustParse(t, "-c", writeConfig(t, front+routes)).Listeners[0]
			}
			var got []string
			for _, ch := range parsed(tt.before).changesTo(parsed(tt.after)) {
				got = append(got, ch.Key+": "+ch.Before+" -> "+ch.After)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
		})
	}
}

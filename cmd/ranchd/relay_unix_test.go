//go:build unix

package main

import (
	"crypto/tls"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"goranch/transport"
)

// serveName starts an upstream that sends its name to each connection, and echoes. With a config it
// speaks TLS.
func serveName(t *testing.T, name string, config *tls.Config) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = ln.Addr().String()
	if config != nil {
		ln = tls.NewListener(ln, config)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer nc.Close()
				io.WriteString(nc, name)
				io.Copy(nc, nc)
			}()
		}
	}()
	return addr
}

func wantName(t *testing.T, nc net.Conn, name string) {
	t.Helper()
	got := make([]byte, len(name))
	if _, err := io.ReadFull(nc, got); string(got) != name || err != nil {
		t.Errorf("got %q, %v, want the upstream %q", got, err, name)
	}
}

func TestRelayOfCommandLine(t *testing.T) {
	a := serveName(t, "a", nil)
	p := startProgram(t, "--listen", "r=relay+tcp://127.0.0.1:0", "--upstream", a+" weight=3", "--admin", "none", "--quiet")
	nc := dial(t, transport.TCP{}, p.log.event(t, "listener started", map[string]any{"listener": "r"})["addr"].(string))
	wantName(t, nc, "a")
	checkEcho(t, nc)
}

// A reload replaces the upstreams while connections continue.
func TestReloadRelay(t *testing.T) {
	a, b := serveName(t, "a", nil), serveName(t, "b", nil)
	const listener = "[[listener]]\nname = 'r'\naddress = 'tcp://127.0.0.1:0'\nprotocol = 'relay'\n"
	c := startConfigured(t, listener+"upstream = '"+a+"'\n")
	first := c.dial(t, "r")
	wantName(t, first, "a")
	c.wantChanges(t, listener+"upstream = ['"+b+" weight=2']\nhealth-interval = '1m'\nupstream-header = 'v1'\n",
		"r upstream: "+a+" -> "+b+" weight=2: changed now",
		"r upstream-header: none -> v1: changed now",
		"r health-interval: infinity -> 1m: changed now")
	second := c.dial(t, "r")
	wantName(t, second, "bPROXY TCP4 127.0.0.1 127.0.0.1 ")
	checkEcho(t, first)
	if _, err := c.reload(t, listener+"upstream = 'a:0'\n"); err == nil {
		t.Error("reload: got no error for a faulty upstream")
	}
	wantName(t, c.dial(t, "r"), "b")

	var rows [][]any
	for _, row := range c.upstreams().Rows {
		rows = append(rows, row[:5])
	}
	want := [][]any{{"r", b, "up", 2, 0}, {"r", a, "removed", 1, 0}}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("command upstreams (-want +got):\n%s", diff)
	}
	w := httptest.NewRecorder()
	c.metrics().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, line := range []string{
		`goranch_upstream_connections{relay="r",upstream="` + b + `"} 2`,
		`goranch_upstream_failures_total{reason="dial refused",relay="r",upstream="` + b + `"} 0`,
	} {
		if !strings.Contains(w.Body.String(), line+"\n") {
			t.Errorf("metrics: got no line %s, want it", line)
		}
	}
}

// Upstreams with TLS are verified by their CA and name, and failures are logged.
func TestRelayToTLS(t *testing.T) {
	pair := newPair(t, t.TempDir(), "a.test")
	cert, err := tls.LoadX509KeyPair(pair.cert, pair.key)
	if err != nil {
		t.Fatal(err)
	}
	a := serveName(t, "a", &tls.Config{Certificates: []tls.Certificate{cert}})
	const listener = "[[listener]]\nname = 'r'\naddress = 'tcp://127.0.0.1:0'\nprotocol = 'relay'\nmax-failures = 1\n"
	upstream := "upstream = 'tls://" + a + "'\nupstream-ca = '" + pair.cert + "'\n"
	c := startConfigured(t, listener+upstream+"upstream-name = 'other.test'\n")
	if nc, err := net.Dial("tcp", c.listener(t, "r").Addr().String()); err == nil { // the reset may be faster
		defer nc.Close()
		if _, err := nc.Read(make([]byte, 1)); err == nil {
			t.Error("got data of an upstream with a certificate for another name")
		}
	}
	c.program.log.event(t, "upstream is not used", map[string]any{"relay": "r", "upstream": a, "state": "out"})
	if _, err := c.reload(t, listener+upstream+"upstream-name = 'a.test'\n"); err != nil {
		t.Fatal(err)
	}
	nc := c.dial(t, "r")
	wantName(t, nc, "a")
	checkEcho(t, nc)
}

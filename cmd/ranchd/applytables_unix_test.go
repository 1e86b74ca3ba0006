//go:build unix

package main

import (
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"goranch/conns"
	"goranch/protocol/shell"
	"goranch/protocol/shell/access"
	"goranch/transport"
)

// Rules for operators, and the hosts of web listeners, apply to new connections.
func TestReloadAccess(t *testing.T) {
	dir := t.TempDir()
	text := func(ops, web string) string {
		return "admin = 'unix:" + dir + "/admin.sock'\n" + ops + "[[listener]]\nname = 'w'\naddress = 'tcp://127.0.0.1:0'\nprotocol = 'web'\n" + web
	}
	tokens := filepath.Join(dir, "tokens")
	token, line, err := access.GenerateToken(shell.Viewer, "ann")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tokens, []byte(line+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	os.Unsetenv("RANCHD_ADMIN")
	defer os.Setenv("RANCHD_ADMIN", "none")
	c := startConfigured(t, text("", ""))
	status := func() string {
		t.Helper()
		nc := c.dial(t, "w")
		io.WriteString(nc, "GET / HTTP/1.1\r\nHost: x.example.org\r\nConnection: close\r\n\r\n")
		answer, _ := io.ReadAll(nc)
		first, _, _ := strings.Cut(string(answer), "\r\n")
		return first
	}
	admin := func() string {
		t.Helper()
		nc := dial(t, transport.TCP{}, "unix:"+dir+"/admin.sock")
		io.WriteString(nc, "auth:"+token+"\nquit\n")
		answer, _ := io.ReadAll(nc)
		return string(answer)
	}
	if got, answer := status(), admin(); strings.Contains(got, "200") || !strings.Contains(answer, "no tokens") {
		t.Errorf("before: got %q and %q, want neither the page nor a user", got, answer)
	}
	c.wantChanges(t, text("tokens = '"+tokens+"'\nviewer = '0'\n", "allowed-host = 'x.example.org'\n"),
		"w allowed-host: -> x.example.org: changed now",
		"admin viewer: -> 0: changed now", "admin tokens: -> "+tokens+": changed now", "admin mode of the socket: 0600 -> 0666: at resume")
	if got, answer := status(), admin(); !strings.Contains(got, "200") || !strings.Contains(answer, "token ann") {
		t.Errorf("after: got %q and %q, want the page and the user of the token", got, answer)
	}
}

// Limits that listeners share, and rules for networks, are in force at the start and after a
// reload.
func TestReloadLimitsAndNetworks(t *testing.T) {
	text := func(limits, more string) string {
		listeners := "[[listener]]\nname = 'a'\naddress = 'tcp://127.0.0.1:0'\nlimits = 'x'\nrefuse-after = 0\n"
		return listeners + strings.ReplaceAll(listeners, "'a'", "'b'") + "[limits.x]\n" + limits + more
	}
	accepted := func(c *configured, name string) (net.Conn, bool) {
		t.Helper()
		nc, err := net.Dial("tcp", c.listener(t, name).Addr().String())
		if err != nil { // it can be reset before connect returns
			return nil, false
		}
		t.Cleanup(func() { nc.Close() })
		nc.SetDeadline(time.Now().Add(timeout))
		io.WriteString(nc, "x")
		_, err = io.ReadFull(nc, make([]byte, 1))
		return nc, err == nil
	}
	c := startConfigured(t, text("max-per-address = 1\n", ""))
	if _, ok := accepted(c, "a"); !ok {
		t.Error("first connection: got none, want one")
	}
	if _, ok := accepted(c, "b"); ok {
		t.Error("second connection, of the same address: got one, want none")
	}
	c.wantChanges(t, text("max-per-address = 2\n", ""), "limits.x.max-per-address: 1 -> 2: changed now")
	nc, ok := accepted(c, "b")
	if !ok {
		t.Error("second connection: got none, want one")
	}
	c.wantChanges(t, text("max-per-address = 2\n", "[[network]]\nprefix = '127.0.0.0/8'\ndeny = true\nreset = true\nreason = 'test'\n"),
		"network 127.0.0.0/8: -> deny=true reset=true reason=test: changed now")
	if _, err := nc.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Errorf("live connection of a banned network: got %v, want its end", err)
	}
	if _, ok := accepted(c, "a"); ok {
		t.Error("connection of a banned network: got one, want none")
	}
	if err := c.networks.Add(conns.NetworkRule{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Deny: true}); err != nil {
		t.Fatal(err)
	}
	c.wantChanges(t, text("max-per-address = 2\n", ""), "network 127.0.0.0/8: deny=true reset=true reason=test -> : changed now")
	if _, ok := accepted(c, "a"); !ok {
		t.Error("connection without the ban: got none, want one")
	}
	if got := c.networks.Len(); got != 1 {
		t.Errorf("rules: got %d, want the one that an operator has added", got)
	}
	c.wantChanges(t, strings.ReplaceAll(text("max-per-address = 2\n", "[limits.y]\n"), "limits = 'x'", "limits = 'y'"),
		"a limits: x -> y: needs a restart", "b limits: x -> y: needs a restart")
}

// A ban file that is configured later is read and watched; without it its bans end.
func TestReloadBanFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bans")
	if err := os.WriteFile(file, []byte("127.0.0.1 reset\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const interval = "reload-interval = '10ms'\n"
	c := startConfigured(t, interval+one)
	nc := c.dial(t, "a")
	checkEcho(t, nc)
	c.wantChanges(t, interval+"ban-file = '"+file+"'\n"+one, "ban-file: -> "+file+": changed now")
	if _, err := nc.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Errorf("live connection: got %v, want its end", err)
	}
	if err := os.WriteFile(file, []byte("# none\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.program.log.event(t, "ban file reloaded", map[string]any{"networks": 0.0})
	checkEcho(t, c.dial(t, "a"))
	if err := os.WriteFile(file, []byte("127.0.0.1 reset\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.program.log.event(t, "ban file reloaded", map[string]any{"networks": 1.0})
	c.wantChanges(t, interval+one, "ban-file: "+file+" -> : changed now")
	checkEcho(t, c.dial(t, "a"))
}

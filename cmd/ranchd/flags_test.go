package main

import (
	"bytes"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"goranch/conns"
	"goranch/protocol/session"
	"goranch/protocol/shell"
	"goranch/protocol/shell/access"
	"goranch/ranch"
	"goranch/transport"
	"goranch/transport/certs"
)

// configOf reads a command line that has no faults.
func configOf(t *testing.T, args ...string) *config {
	t.Helper()
	var complaints bytes.Buffer
	c, code, done := parse(args, io.Discard, &complaints)
	if done {
		t.Fatalf("%q: exit code %d:\n%s", args, code, &complaints)
	}
	return c
}

func TestDefaults(t *testing.T) {
	t.Setenv("RANCHD_ADMIN", "auto")
	t.Setenv("XDG_RUNTIME_DIR", "/run/user/7")
	got := configOf(t)
	want := &config{
		Endpoints: []endpoint{
			{Name: "echo-tcp", Addr: tcp("127.0.0.1:8007")},
			{Name: "echo-tls", TLS: true, Addr: tcp("127.0.0.1:8008")},
			{Name: "shell-tcp", Service: shellService, Addr: tcp("127.0.0.1:8080")},
			{Name: "topics-tcp", Service: topicsService, Addr: tcp("127.0.0.1:8081")},
			{Name: "packet-tcp", Service: packetService, Addr: tcp("127.0.0.1:8082")},
			{Name: "web-tcp", Service: webService, Addr: tcp("127.0.0.1:8083")},
			{Name: "admin", Service: adminService, Addr: unix("/run/user/7/ranchd.sock")},
		},
		TLSMin: tls.VersionTLS12,
		Options: ranch.Options{
			MaxConnections: 1024, NumListenSockets: 1, HandshakeTimeout: 5 * time.Second, Limits: conns.Limits{LifetimeJitter: 0.1},
			Alarms: map[string]ranch.Alarm{"descriptors": {Descriptors: 0.9, Cooldown: time.Minute}},
		},
		TCP:       transport.TCP{SendTimeout: 30 * time.Second},
		Drain:     5 * time.Second,
		LogLevel:  slog.LevelInfo,
		LogFormat: logAuto,
		AnyCap:    true,
		Shell:     shellConfig{Root: "."},
		Sessions:  sessionConfig{TTL: 10 * time.Minute, Max: 100_000},
	}
	if diff := cmp.Diff(want, got, functions); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}

// functions are compared by whether they are there, and what is opened not at all.
var functions = cmp.Options{
	cmpopts.IgnoreFields(shellAccess{}, "Peer"),
	cmpopts.IgnoreFields(config{}, "Flags"),
	cmpopts.IgnoreFields(shell.Program{}, "Allow"),
	cmp.Comparer(func(a, b func(net.Addr) (string, error)) bool { return (a == nil) == (b == nil) }),
	cmp.Comparer(func(a, b access.Authenticator) bool { return (a == nil) == (b == nil) }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	cmp.Comparer(func(a, b *certs.Store) bool { return (a == nil) == (b == nil) }),
	cmp.Comparer(func(a, b *access.Tokens) bool { return (a == nil) == (b == nil) }),
	cmp.Comparer(func(a, b func(error)) bool { return (a == nil) == (b == nil) }),
}

func TestEveryFlag(t *testing.T) {
	cert, key := certificateFiles(t)
	dir := t.TempDir()
	tokens := filepath.Join(dir, "tokens")
	_, line, err := access.GenerateToken(shell.Operator, "ann")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tokens, []byte(line+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := configOf(t, "--listen", "tls://[::]:1", "--listen=a=:2 unix:/x", "--tls-min", "1.3", "--max-connections", "unlimited",
		"--acceptors", "20", "--backlog", "7", "--unix-mode", "0660", "--handshake-timeout", "infinity", "--send-timeout", "infinity",
		"--refuse-after", "0", "--max-per-address", "20", "--address-rate", "0.5", "--accept-rate", "100:20", "--max-handshakes", "50",
		"--proxy-from", "10.1.2.3/8,::1,local", "--idle-timeout", "10m", "--lifetime", "24h", "--alarm-descriptors", "0",
		"--shutdown-timeout", "infinity", "--log-level", "debug", "--log-format", "json", "--quiet", "--check",
		"--admin", "unix:/a", "--operator", "0,cn:ann", "--viewer", "any", "--shell-root", "none", "--session-ttl", "infinity",
		"--max-sessions", "unlimited", "--state", dir, "--session-ids", "djb", "--program", "date=/bin/date -u *",
		"--cert", cert, "--key", key, "--client-ca", cert, "--tokens", tokens, "--plain-tokens")
	want := &config{
		Endpoints: []endpoint{
			{Name: "echo-tls", TLS: true, Addr: tcp("[::]:1")},
			{Name: "a", Addr: tcp("127.0.0.1:2"), Defaulted: true},
			{Name: "echo-unix", Addr: unix("/x")},
			{Name: "admin", Service: adminService, Addr: unix("/a")},
		},
		Store:  new(certs.Store),
		TLSMin: tls.VersionTLS13,
		Access: shellAccess{Tokens: new(access.Tokens), Certificates: access.Anyone(0), PlainTokens: true, Others: true},
		Shell: shellConfig{
			Programs: []shell.Program{{Name: "date", Path: "/bin/date", Args: []string{"-u"}, Role: shell.Viewer}},
			NewID:    session.DJBID,
		},
		Sessions: sessionConfig{TTL: -1, Max: -1, Dir: dir},
		Options: ranch.Options{
			MaxConnections: ranch.Unlimited, NumListenSockets: 1, NumAcceptors: 20, HandshakeTimeout: -1, RefuseAfter: -1,
			Limits: conns.Limits{PerAddress: 20, AddressRate: conns.Rate{PerSecond: 0.5}, AcceptRate: conns.Rate{PerSecond: 100, Burst: 20}, MaxHandshakes: 50, IdleTimeout: 10 * time.Minute, Lifetime: 24 * time.Hour, LifetimeJitter: 0.1},
		},
		TCP:       transport.TCP{Backlog: 7, SendTimeout: -1, UnixMode: 0o660},
		Proxies:   proxies{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}, Local: true},
		Drain:     ranch.Infinity,
		LogLevel:  slog.LevelDebug,
		LogFormat: logJSON,
		Quiet:     true,
		Check:     true,
	}
	if diff := cmp.Diff(want, got, functions); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("RANCHD_LISTEN", "tcp://:1 tls://:2")
	t.Setenv("RANCHD_SHUTDOWN_TIMEOUT", "0")
	t.Setenv("RANCHD_QUIET", "true")
	c := configOf(t)
	if len(c.Endpoints) != 2 || c.Drain != 0 || !c.Quiet {
		t.Errorf("the environment is not read: %+v", c)
	}
	c = configOf(t, "--listen", ":3", "--shutdown-timeout", "1s")
	if len(c.Endpoints) != 1 || c.Drain != time.Second {
		t.Errorf("the command line does not go before the environment: %+v", c)
	}
	cert, key := certificateFiles(t)
	for name, file := range map[string]string{"CERT": cert, "KEY": key, "CLIENT_CA": cert} {
		t.Setenv("RANCHD_"+name, file)
	}
	if c = configOf(t); c.Store == nil {
		t.Error("the certificate's files are not read")
	}
}

func TestFaults(t *testing.T) {
	cert, key := certificateFiles(t)
	missing := filepath.Join(t.TempDir(), "missing.pem")
	for _, c := range []struct {
		name string
		args []string
		want []string // a part of each fault, in order
	}{
		{"unknown flag", []string{"--port", "1"}, []string{"unknown flag --port"}},
		{"no flag", []string{"tcp://:1"}, []string{"unexpected argument tcp://:1"}},
		{"everything", []string{
			"--listen", "http://:1", "--listen", " ", "--cert", missing, "--tls-min", "1.1", "--max-connections", "0", "--acceptors", "10001",
			"--listen-sockets", "0", "--handshake-timeout", "0", "--send-timeout", "5", "--shutdown-timeout=-1s", "--backlog", "x",
			"--refuse-after=-1s", "--max-per-address=-1", "--address-rate", "fast", "--accept-rate", "1:0", "--max-handshakes", "0",
			"--proxy-from", "10.0.0.0/8,all", "--idle-timeout", "0", "--lifetime", "old", "--alarm-descriptors", "2", "--unix-mode", "0888", "--sni-unknown", "no", "--reload-interval", "0", "--client-ca", "x", "--log-level", "trace", "--log-format", "xml",
		}, []string{
			`--listen " ": it is empty`, `--listen "http://:1": unknown scheme`,
			`--tls-min "1.1": allowed are 1.2 and 1.3`,
			`--max-connections "0": allowed are the numbers 1 to 2147483647, and unlimited`,
			`--acceptors "10001": allowed are the numbers 1 to 10000`,
			`--listen-sockets "0": allowed are the numbers 1 to 10000`,
			`--handshake-timeout "0": allowed are times such as`,
			`--refuse-after "-1s": allowed are never, 0, and times`,
			`--max-per-address "-1": allowed are the numbers 1 to`,
			`--address-rate "fast": allowed are numbers per second`,
			`--accept-rate "1:0": allowed are numbers per second`,
			`--max-handshakes "0": allowed are the numbers 1 to`,
			`--idle-timeout "0": allowed are times`,
			`--lifetime "old": allowed are times`,
			`--alarm-descriptors "2": allowed are shares`,
			`--backlog "x": allowed are the numbers 0 to`,
			`--send-timeout "5": allowed are times such as`,
			`--unix-mode "0888": allowed are the octal numbers`,
			`--proxy-from "10.0.0.0/8,all": allowed are networks`,
			`--shutdown-timeout "-1s": allowed are 0, times`,
			`--log-level "trace": allowed are debug, info, warn and error`,
			`--log-format "xml": allowed are auto, text, color and json`,
			`--sni-unknown "no": allowed are default and refuse`,
			`--reload-interval "0": allowed are times`,
			"--key is missing",
		}},
		{"a mode for nobody", []string{"--unix-mode", "0"}, []string{`--unix-mode "0"`}},
		{"no cert", []string{"--key", key}, []string{"--cert is missing"}},
		{"no such files", []string{"--cert", missing, "--key", missing + "2"}, []string{
			`--cert "` + missing + `": no such file`, `--key "` + missing + `2": no such file`,
		}},
		{"the wrong way round", []string{"--cert", key, "--key", cert}, []string{`--cert "` + key + `": not a certificate and its key`}},
		{"a stranger's key", []string{"--cert", cert, "--key", second(certificateFiles(t))}, []string{"private key does not match public key"}},
		{"a certificate for nothing", []string{"--listen", ":1", "--cert", cert, "--key", key}, []string{"no --listen uses TLS"}},
		{"one key too many", []string{"--cert", cert, "--key", key, "--key", key}, []string{"--cert is missing"}},
		{"client CAs without a certificate", []string{"--client-ca", cert, "--sni-unknown", "refuse"}, []string{
			`--client-ca "` + cert + `": allowed is it only with --cert`, `--sni-unknown "refuse": allowed is it only with --cert`,
		}},
		{"client CAs that are none", []string{"--cert", cert, "--key", key, "--client-ca", key, "--client-ca", missing}, []string{
			`--client-ca "` + key + `": not a bundle`, `--client-ca "` + missing + `": no such file`,
		}},
		{"the same name", []string{"--listen", "a=:1", "--listen", "a=:2"}, []string{`the name a is taken by "a=:1"`}},
		{"the same address", []string{"--listen", ":1", "--listen", "tls://127.0.0.1:01", "--listen", ":0", "--listen", ":0"},
			[]string{`":1" listens there already`}},
		{"sockets of a Unix socket", []string{"--listen", "unix:/x", "--listen-sockets", "2"}, []string{"--listen-sockets 2: Unix sockets cannot share"}},
		{"fewer acceptors than sockets", []string{"--acceptors", "1", "--listen-sockets", "2"}, []string{"--acceptors 1: allowed is at least one for each"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out, complaints bytes.Buffer
			_, code, done := parse(c.args, &out, &complaints)
			if !done || code != exitUsage || out.Len() > 0 {
				t.Errorf("done %v, exit code %d, stdout %q; want code %d and nothing on stdout", done, code, &out, exitUsage)
			}
			got := strings.Split(strings.TrimSuffix(complaints.String(), "\n"), "\n")
			got = got[1 : len(got)-1] // between what it means and where help is
			if len(got) != len(c.want) {
				t.Fatalf("want %d faults:\n%s", len(c.want), &complaints)
			}
			for i := range got {
				if !strings.Contains(got[i], c.want[i]) {
					t.Errorf("fault %d does not say %q: %s", i, c.want[i], got[i])
				}
			}
		})
	}
}

func second(_, s string) string { return s }

func TestHelp(t *testing.T) {
	for _, flag := range []string{"--help", "-h"} {
		var out bytes.Buffer
		if _, code, done := parse([]string{flag}, &out, io.Discard); !done || code != exitInOrder {
			t.Errorf("%s: done %v, code %d", flag, done, code)
		}
		for _, want := range []string{"--listen", "--unix-mode", "Default: 1024, and", "RANCHD_TLS_MIN", "--client-ca", "--sni-unknown", "SIGHUP", "Examples:", "SIGUSR1", "128+n"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s does not mention %q:\n%s", flag, want, &out)
			}
		}
	}
}

// TestIPv4Only keeps 0.0.0.0 from being IPv6 too, which it is to package net.
func TestIPv4Only(t *testing.T) {
	for in, want := range map[string]string{"0.0.0.0:1": "tcp4", "127.0.0.1:1": "tcp4", "[::]:1": "", "localhost:1": "", "unix:/x": ""} {
		c := configOf(t, "--listen", in)
		if got := c.transport(c.Endpoints[0], nil).(transport.TCP).Network; got != want {
			t.Errorf("%s: network %q, want %q", in, got, want)
		}
	}
}

// A shell that strangers could reach, or whose sessions they could guess, does not start.
func TestExposedShells(t *testing.T) {
	tokens := filepath.Join(t.TempDir(), "tokens")
	_, line, err := access.GenerateToken(shell.Operator, "ann")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tokens, []byte(line+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		args  []string
		wrong string // "" is nothing
	}{
		{"loopback", []string{"--listen", "shell+tcp://127.0.0.1:1", "--admin", "tcp://[::1]:2"}, ""},
		{"other protocols", []string{"--listen", "tcp://0.0.0.0:1 topics+tcp://0.0.0.0:2 packet+tcp://0.0.0.0:3"}, ""},
		{"every interface", []string{"--listen", "shell+tcp://0.0.0.0:1"}, "shell+tcp://0.0.0.0:1"},
		{"operators", []string{"--listen", ":1", "--admin", "tcp://0.0.0.0:1"}, "admin+tcp://0.0.0.0:1"},
		{"tokens in clear", []string{"--listen", "shell+tcp://0.0.0.0:1", "--tokens", tokens}, "shell+tcp://0.0.0.0:1"},
		{"tokens in clear, accepted", []string{"--listen", "shell+tcp://0.0.0.0:1", "--tokens", tokens, "--plain-tokens"}, ""},
		{"tokens over TLS", []string{"--listen", "shell+tls://0.0.0.0:1", "--tokens", tokens}, ""},
		{"guessable ids", []string{"--listen", "shell+tls://0.0.0.0:1", "--tokens", tokens, "--session-ids", "djb"}, "--accept-guessable-ids"},
		{"guessable ids, accepted", []string{"--listen", "shell+tls://0.0.0.0:1", "--tokens", tokens, "--session-ids", "djb", "--accept-guessable-ids"}, ""},
		{"guessable ids on loopback", []string{"--listen", "shell+tcp://127.0.0.1:1", "--session-ids", "djb"}, ""},
		{"certificates without CA", []string{"--listen", ":1", "--operator", "cn:ann"}, "--client-ca"},
		{"no such program", []string{"--listen", ":1", "--program", "x=/no/such/file"}, "/no/such/file"},
		{"a relative program", []string{"--listen", ":1", "--program", "x=date"}, "absolute"},
		{"no such root", []string{"--listen", ":1", "--shell-root", "/no/such/dir"}, "--shell-root"},
		{"no such state", []string{"--listen", ":1", "--state", "/no/such/dir"}, "--state"},
		{"no tokens", []string{"--listen", ":1", "--tokens", "/no/such/file"}, "--tokens"},
	} {
		var complaints bytes.Buffer
		_, code, done := parse(c.args, io.Discard, &complaints)
		if done != (c.wrong != "") || done && (code != exitUsage || !strings.Contains(complaints.String(), c.wrong)) {
			t.Errorf("%s: %v, exit code %d:\n%s", c.name, done, code, &complaints)
		}
	}
}

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
	"slices"
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
)

// mustParse parses a valid command line.
func mustParse(t *testing.T, args ...string) *config {
	t.Helper()
	var stderr bytes.Buffer
	c, code, done := parse(args, io.Discard, &stderr)
	if done {
		t.Fatalf("%q: got exit code %d, want a configuration:\n%s", args, code, &stderr)
	}
	return c
}

// defaultLimits are the options of a listener without settings.
var defaultLimits = ranch.Options{
	MaxConnections: 1024, NumListenSockets: 1, HandshakeTimeout: 5 * time.Second, KeepClosed: 100, Evict: conns.EvictNone,
	Limits: conns.Limits{LifetimeJitter: 0.1, ParkAfter: time.Second},
	Alarms: map[string]ranch.Alarm{"descriptors": {Descriptors: 0.9, Cooldown: time.Minute}},
}

// newListener returns the configuration of a listener without settings.
func newListener(e endpoint) *listenerConfig {
	l := &listenerConfig{
		endpoint: e, ServiceName: e.Service.state().String(), Options: defaultLimits,
		TCP: transport.TCP{SendTimeout: 30 * time.Second, KeepAlive: 15 * time.Second}, TLSMin: tls.VersionTLS12,
	}
	sessions := sessionConfig{TTL: 10 * time.Minute, Max: 100_000, MaxPerAddress: 1000}
	switch e.Service {
	case shellService:
		l.Shell, l.Sessions = shellConfig{Root: "."}, sessions
	case adminService:
		l.Sessions.TTL = sessions.TTL
	case topicsService, webService:
		l.Sessions = sessions
		l.Topics = topicsConfig{
			MaxFrame: 262144, MaxSubscriptions: 1000, MaxTopics: 1 << 20, PublishRate: 10_000, History: 16, TotalBytes: 512 << 20,
			Heartbeat: 30 * time.Second, Retain: time.Minute,
		}
		if e.Service == webService {
			l.Web.MaxBrowsers = 10_000
		} else {
			l.Options.MaxConnections = topicsConnections
		}
	case packetService:
		l.Packet = packetConfig{MaxFrame: 262144, BytesPerSecond: 1 << 20, FramesPerSecond: 200, MaxBatch: 100}
	}
	return l
}

// newDefaults returns the configuration without flags and file.
func newDefaults() *config {
	c := &config{
		MaxConnections: 1024, DefaultCap: true, ShutdownTimeout: 5 * time.Second, Upgrade: upgradeConfig{30 * time.Second, 30 * time.Second, 5}, SessionTTL: 10 * time.Minute,
		LogLevel: slog.LevelInfo, LogFormat: logAuto,
	}
	for _, e := range []endpoint{
		{Name: "echo-tcp", Addr: tcp("127.0.0.1:8007"), Default: true},
		{Name: "echo-tls", TLS: true, Addr: tcp("127.0.0.1:8008"), Default: true},
		{Name: "shell-tcp", Service: shellService, Addr: tcp("127.0.0.1:8080"), Default: true},
		{Name: "topics-tcp", Service: topicsService, Addr: tcp("127.0.0.1:8081"), Default: true},
		{Name: "packet-tcp", Service: packetService, Addr: tcp("127.0.0.1:8082"), Default: true},
		{Name: "web-tcp", Service: webService, Addr: tcp("127.0.0.1:8083"), Default: true},
		{Name: "admin-http", Service: adminHTTPService, Addr: tcp("127.0.0.1:8084"), Default: true},
		{Name: "admin", Service: adminService, Addr: unix("/run/user/7/ranchd.sock"), Default: true},
	} {
		c.Listeners = append(c.Listeners, newListener(e))
	}
	return c
}

func setDefaultAdmin(t *testing.T) {
	t.Helper()
	t.Setenv("RANCHD_ADMIN", "auto")
	t.Setenv("RANCHD_ADMIN_HTTP", "auto")
	t.Setenv("XDG_RUNTIME_DIR", "/run/user/7")
}

func TestDefaults(t *testing.T) {
	setDefaultAdmin(t)
	if diff := cmp.Diff(newDefaults(), mustParse(t), compareConfig); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// compareConfig compares functions and opened files only by whether they are nil, and ignores the
// text of settings.
var compareConfig = cmp.Options{
	cmpopts.IgnoreFields(shellAccess{}, "Peer"),
	cmpopts.IgnoreFields(config{}, "files", "process", "command", "given", "File"),
	cmpopts.IgnoreFields(listenerConfig{}, "scope"),
	cmp.AllowUnexported(listenerConfig{}),
	cmpopts.IgnoreFields(shell.Program{}, "Allow"),
	cmpopts.IgnoreUnexported(sharedLimits{}),
	cmp.Comparer(func(a, b func(net.Addr) (string, error)) bool { return (a == nil) == (b == nil) }),
	cmp.Comparer(func(a, b access.Authenticator) bool { return (a == nil) == (b == nil) }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	cmp.Comparer(func(a, b *certFiles) bool { return (a == nil) == (b == nil) }),
	cmp.Comparer(func(a, b *access.Tokens) bool { return (a == nil) == (b == nil) }),
	cmp.Comparer(func(a, b func(error)) bool { return (a == nil) == (b == nil) }),
	cmp.Comparer(func(a, b func(*certFiles, error)) bool { return (a == nil) == (b == nil) }),
}

func TestEveryFlag(t *testing.T) {
	cert, key := newCertificateFiles(t)
	dir := t.TempDir()
	tokens := filepath.Join(dir, "tokens")
	_, line, err := access.GenerateToken(shell.Operator, "ann")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tokens, []byte(line+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := mustParse(t, "--listen", "shell+tls://[::]:1", "--listen=a=:2 unix:/x", "--tls-min", "1.3", "--max-connections", "unlimited",
		"--acceptors", "20", "--backlog", "7", "--unix-mode", "0660", "--handshake-timeout", "infinity", "--send-timeout", "infinity",
		"--refuse-after", "0", "--max-per-address", "20", "--address-rate", "0.5", "--accept-rate", "100:20", "--max-handshakes", "50",
		"--proxy-from", "10.1.2.3/8,::1,local", "--idle-timeout", "10m", "--lifetime", "24h", "--alarm-descriptors", "0",
		"--shutdown-timeout", "infinity", "--upgrade-timeout", "1m", "--upgrade-drain", "2m", "--upgrade-processes", "3", "--drain-delay", "10s", "--drain-spread", "2m", "--access-log", "-", "--log-level", "debug", "--log-format", "json", "--quiet", "--check",
		"--admin", "unix:/a", "--admin-http", "h=tls://127.0.0.1:9", "--admin-http-host", "a.org,*.b.org:1", "--operator", "0,cn:ann", "--viewer", "any", "--shell-root", "none", "--session-ttl", "infinity",
		"--max-sessions", "unlimited", "--max-sessions-per-address", "unlimited", "--state", dir, "--session-ids", "djb", "--allow-predictable-ids",
		"--program", "date=/bin/date -u *", "--cert", cert, "--key", key, "--client-ca", cert, "--tokens", tokens, "--plain-tokens")
	options := ranch.Options{
		MaxConnections: ranch.Unlimited, NumListenSockets: 1, NumAcceptors: 20, HandshakeTimeout: -1, RefuseAfter: -1, DrainDelay: 10 * time.Second, DrainSpread: 2 * time.Minute, KeepClosed: 100, Evict: conns.EvictNone,
		Limits: conns.Limits{PerAddress: 20, AddressRate: conns.Rate{PerSecond: 0.5}, AcceptRate: conns.Rate{PerSecond: 100, Burst: 20}, MaxHandshakes: 50,
			IdleTimeout: 10 * time.Minute, Lifetime: 24 * time.Hour, LifetimeJitter: 0.1, ParkAfter: time.Second},
	}
	rules := shellAccess{Tokens: new(access.Tokens), Certificates: access.Anyone(0), PlainTokens: true, HasPeerRules: true}
	want := &config{
		Listeners: []*listenerConfig{
			{endpoint: endpoint{Name: "shell-tls", Service: shellService, TLS: true, Addr: tcp("[::]:1")}, ServiceName: "shell", Store: new(certFiles), Access: rules,
				Shell: shellConfig{
					Programs: []shell.Program{{Name: "date", Path: "/bin/date", Args: []string{"-u"}, Role: shell.Viewer}},
					NewID:    session.DJBID,
				},
				Sessions: sessionConfig{TTL: -1, Max: -1, MaxPerAddress: -1, MaxBytesPerAddress: -1},
			},
			{endpoint: endpoint{Name: "a", Addr: tcp("127.0.0.1:2"), Defaulted: true}, ServiceName: "echo"},
			{endpoint: endpoint{Name: "echo-unix", Addr: unix("/x")}, ServiceName: "echo"},
			{endpoint: endpoint{Name: "h", Service: adminHTTPService, TLS: true, Addr: tcp("127.0.0.1:9")}, ServiceName: "admin-http", Access: rules,
				Store: new(certFiles), HTTPHosts: []string{"a.org", "*.b.org:1"}},
			{endpoint: endpoint{Name: "admin", Service: adminService, Addr: unix("/a")}, ServiceName: "admin", Access: rules, Sessions: sessionConfig{TTL: -1}},
		},
		MaxConnections: ranch.Unlimited, StateDir: dir, SessionTTL: -1, AccessLog: "-",
		ShutdownTimeout: ranch.Infinity,
		Upgrade:         upgradeConfig{time.Minute, 2 * time.Minute, 3},
		LogLevel:        slog.LevelDebug,
		LogFormat:       logJSON,
		Quiet:           true,
		Check:           true,
	}
	for _, l := range want.Listeners {
		l.Options, l.TLSMin = options, tls.VersionTLS13
		l.TCP = transport.TCP{Backlog: 7, SendTimeout: -1, UnixMode: 0o660, KeepAlive: 15 * time.Second}
		if !l.Service.isOperators() {
			l.Proxies = proxies{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}, Local: true}
		}
	}
	if diff := cmp.Diff(want, got, compareConfig); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("RANCHD_LISTEN", "tcp://:1 tls://:2")
	t.Setenv("RANCHD_SHUTDOWN_TIMEOUT", "0")
	t.Setenv("RANCHD_QUIET", "true")
	c := mustParse(t)
	if len(c.Listeners) != 2 || c.ShutdownTimeout != 0 || !c.Quiet {
		t.Errorf("environment: got %+v, want 2 listeners, no shutdown timeout, quiet", c)
	}
	c = mustParse(t, "--listen", ":3", "--shutdown-timeout", "1s")
	if len(c.Listeners) != 1 || c.ShutdownTimeout != time.Second {
		t.Errorf("command line and environment: got %+v, want the values of the command line", c)
	}
	for _, name := range []string{"RANCHD_ALLOW_PREDICTABLE_IDS", "RANCHD_ACCEPT_GUESSABLE_IDS"} { // the latter is a former name
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, "true")
			if want := (shell.Field{Key: "allow-predictable-ids", Value: true}); !slices.Contains(mustParse(t).values(), want) {
				t.Errorf("got %v, want %v among them", mustParse(t).values(), want)
			}
		})
	}
	cert, key := newCertificateFiles(t)
	for name, file := range map[string]string{"CERT": cert, "KEY": key, "CLIENT_CA": cert} {
		t.Setenv("RANCHD_"+name, file)
	}
	if c = mustParse(t); c.Listeners[1].Store == nil {
		t.Error("certificate files in the environment: got no store, want one")
	}
}

func TestEmptyEnvironment(t *testing.T) {
	t.Setenv("RANCHD_LISTEN", "")
	checkFaults(t, nil, []string{"empty RANCHD_LISTEN"})
}

func TestFaults(t *testing.T) {
	cert, key := newCertificateFiles(t)
	missing := filepath.Join(t.TempDir(), "missing.pem")
	for _, c := range []struct {
		name string
		args []string
		want []string // in each fault, in order
	}{
		{"unknown flag", []string{"--port", "1"}, []string{"unknown flag --port"}},
		{"argument", []string{"tcp://:1"}, []string{"unexpected argument tcp://:1"}},
		{"mode without permissions", []string{"--unix-mode", "0"}, []string{`--unix-mode "0"`}},
		{"no certificate", []string{"--key", key}, []string{"--cert is missing"}},
		{"no such files", []string{"--cert", missing, "--key", missing + "2"}, []string{
			`--cert "` + missing + `": no such file`, `--key "` + missing + `2": no such file`,
		}},
		{"certificate and key exchanged", []string{"--cert", key, "--key", cert}, []string{`--cert "` + key + `": not a certificate and its key`}},
		{"key of another certificate", []string{"--cert", cert, "--key", second(newCertificateFiles(t))}, []string{"private key does not match public key"}},
		{"certificate without TLS", []string{"--listen", ":1", "--cert", cert, "--key", key}, []string{"no --listen uses TLS"}},
		{"one key too many", []string{"--cert", cert, "--key", key, "--key", key}, []string{"--cert is missing"}},
		{"client CAs without a certificate", []string{"--client-ca", cert, "--sni-unknown", "refuse"}, []string{
			`--client-ca "` + cert + `": allowed only with --cert`, `--sni-unknown "refuse": allowed only with --cert`,
		}},
		{"invalid client CAs", []string{"--cert", cert, "--key", key, "--client-ca", key, "--client-ca", missing}, []string{
			`--client-ca "` + key + `": not a bundle`, `--client-ca "` + missing + `": no such file`,
		}},
		{"repeated name", []string{"--listen", "a=:1", "--listen", "a=:2"}, []string{`name a is used by "a=:1"`}},
		{"repeated address", []string{"--listen", ":1", "--listen", "tls://127.0.0.1:01", "--listen", ":0", "--listen", ":0"},
			[]string{`the address is used by ":1"`}},
		{"all interfaces, then one of them", []string{"--listen", "[::]:7", "--listen", "127.0.0.1:7", "--listen", "0.0.0.0:7", "--listen", "[::1]:8"},
			[]string{"tcp://[::]:7 includes its address", "tcp://[::]:7 includes its address", "tcp://127.0.0.1:7 includes"}},
		{"overlong Unix socket", []string{"--listen", "unix:/" + strings.Repeat("x", 120)}, []string{`": bad address: the name of a Unix socket has at most`}},
		{"several files in one value", []string{"--cert", cert + " " + cert, "--key", key + " " + key}, []string{
			"a value is one file", "a value is one file",
		}},
		{"several sockets on a Unix address", []string{"--listen", "unix:/x", "--listen-sockets", "2"}, []string{"Unix sockets cannot share an address"}},
		{"fewer acceptors than sockets", []string{"--acceptors", "1", "--listen-sockets", "2"}, []string{"--acceptors 1: allowed are numbers from 2"}},
	} {
		t.Run(c.name, func(t *testing.T) { checkFaults(t, c.args, c.want) })
	}
}

// All faults are reported at once, in the order of the checks.
func TestManyFaults(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing.pem")
	checkFaults(t, []string{
		"--listen", "http://:1", "--listen", " ", "--cert", missing, "--tls-min", "1.1", "--max-connections", "0", "--acceptors", "10001",
		"--listen-sockets", "0", "--handshake-timeout", "0", "--send-timeout", "5", "--shutdown-timeout=-1s", "--backlog", "x",
		"--refuse-after=-1s", "--max-per-address=-1", "--address-rate", "fast", "--accept-rate", "1:0", "--max-handshakes", "0",
		"--proxy-from", "10.0.0.0/8,all", "--idle-timeout", "0", "--lifetime", "old", "--alarm-descriptors", "2", "--unix-mode", "0888", "--sni-unknown", "no", "--reload-interval", "0", "--client-ca", "x", "--log-level", "trace", "--log-format", "xml",
	}, []string{
		`--listen " ": empty address`, `--listen "http://:1": unknown scheme`,
		`--tls-min "1.1": allowed are 1.2 and 1.3`,
		`--max-connections "0": allowed are the numbers 1 to 2147483647, and unlimited`,
		`--acceptors "10001": allowed are the numbers 1 to 10000`,
		`--listen-sockets "0": allowed are the numbers 1 to 10000`,
		`--handshake-timeout "0": allowed are durations such as`,
		`--refuse-after "-1s": allowed are 0, durations such as 500ms, 5s or 2m, and infinity`,
		`--max-per-address "-1": allowed are the numbers 1 to`,
		`--address-rate "fast": allowed are numbers per second`,
		`--accept-rate "1:0": allowed are numbers per second`,
		`--max-handshakes "0": allowed are the numbers 1 to`,
		`--idle-timeout "0": allowed are durations`,
		`--lifetime "old": allowed are durations`,
		`--alarm-descriptors "2": allowed are fractions`,
		`--backlog "x": allowed are the numbers 0 to`,
		`--send-timeout "5": allowed are durations such as`,
		`--unix-mode "0888": allowed are the octal numbers`,
		`--proxy-from "10.0.0.0/8,all": allowed are networks`,
		`--shutdown-timeout "-1s": allowed are 0, durations`,
		`--log-level "trace": allowed are debug, info, warn and error`,
		`--log-format "xml": allowed are auto, text, color and json`,
		`--reload-interval "0": allowed are durations`,
		`--sni-unknown "no": allowed are default and refuse`,
		"--key is missing",
	})
}

// checkFaults parses a command line and wants faults that contain these texts, in order.
func checkFaults(t *testing.T, args, want []string) {
	t.Helper()
	var out, stderr bytes.Buffer
	_, code, done := parse(args, &out, &stderr)
	if !done || code != exitUsage || out.Len() > 0 {
		t.Errorf("got done %v, exit code %d, stdout %q; want exit code %d and no output", done, code, &out, exitUsage)
	}
	got := strings.Split(strings.TrimSuffix(stderr.String(), "\n"), "\n")
	got = got[1 : len(got)-1] // without the first and the last line
	if len(got) != len(want) {
		t.Fatalf("got %d faults, want %d:\n%s", len(got), len(want), &stderr)
	}
	for i := range got {
		if !strings.Contains(got[i], want[i]) {
			t.Errorf("fault %d: got %s, want %q in it", i, got[i], want[i])
		}
	}
}

func second(_, s string) string { return s }

func TestHelp(t *testing.T) {
	for _, flag := range []string{"--help", "-h"} {
		var out bytes.Buffer
		if _, code, done := parse([]string{flag}, &out, io.Discard); !done || code != exitOK {
			t.Errorf("%s: got done %v and exit code %d, want true and 0", flag, done, code)
		}
		for _, want := range []string{"--listen", "--unix-mode", "20000 for", "RANCHD_TLS_MIN", "--client-ca", "--sni-unknown", "SIGHUP", "Examples:", "SIGUSR1", "128+n"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: got\n%s\nwant %q in it", flag, &out, want)
			}
		}
	}
}

// An IPv4 address is bound for IPv4 only; package net would bind 0.0.0.0 for IPv6 too.
func TestIPv4Only(t *testing.T) {
	for in, want := range map[string]string{"0.0.0.0:1": "tcp4", "127.0.0.1:1": "tcp4", "[::]:1": "", "localhost:1": "", "unix:/x": ""} {
		c := mustParse(t, "--listen", in)
		if got := c.Listeners[0].transport(nil).(transport.TCP).Network; got != want {
			t.Errorf("%s: got network %q, want %q", in, got, want)
		}
	}
}

// A shell that other hosts could use without authentication, or with predictable session ids, is
// refused.
func TestShellAccess(t *testing.T) {
	tokens := filepath.Join(t.TempDir(), "tokens")
	_, line, err := access.GenerateToken(shell.Operator, "ann")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tokens, []byte(line+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		args []string
		want string // in the fault; "" is none
	}{
		{"loopback", []string{"--listen", "shell+tcp://127.0.0.1:1", "--admin", "tcp://[::1]:2"}, ""},
		{"other protocols", []string{"--listen", "tcp://0.0.0.0:1 topics+tcp://0.0.0.0:2 packet+tcp://0.0.0.0:3"}, ""},
		{"every interface", []string{"--listen", "shell+tcp://0.0.0.0:1"}, "shell+tcp://0.0.0.0:1"},
		{"operators' shell", []string{"--listen", ":1", "--admin", "tcp://0.0.0.0:1"}, `--admin "tcp://0.0.0.0:1"`},
		{"operators' HTTP server", []string{"--listen", ":1", "--admin-http", "tcp://0.0.0.0:1"}, `--admin-http "tcp://0.0.0.0:1"`},
		{"operators' HTTP server with unencrypted tokens", []string{"--listen", ":1", "--admin-http", "tcp://0.0.0.0:1", "--tokens", tokens}, "tokens would be sent unencrypted"},
		{"operators' HTTP server with tokens over TLS", []string{"--listen", ":1", "--admin-http", "tls://0.0.0.0:1", "--tokens", tokens}, ""},
		{"operators' HTTP server with a protocol", []string{"--listen", ":1", "--admin-http", "web+tcp://127.0.0.1:1"}, "allowed are addresses without a protocol"},
		{"hosts of the HTTP server", []string{"--listen", ":1", "--admin-http-host", "https://x"}, `--admin-http-host "https://x"`},
		{"unencrypted tokens", []string{"--listen", "shell+tcp://0.0.0.0:1", "--tokens", tokens}, "shell+tcp://0.0.0.0:1"},
		{"unencrypted tokens, allowed", []string{"--listen", "shell+tcp://0.0.0.0:1", "--tokens", tokens, "--plain-tokens"}, ""},
		{"tokens over TLS", []string{"--listen", "shell+tls://0.0.0.0:1", "--tokens", tokens}, ""},
		{"predictable ids", []string{"--listen", "shell+tls://0.0.0.0:1", "--tokens", tokens, "--session-ids", "djb"}, "--allow-predictable-ids"},
		{"predictable ids, allowed", []string{"--listen", "shell+tls://0.0.0.0:1", "--tokens", tokens, "--session-ids", "djb", "--allow-predictable-ids"}, ""},
		{"predictable ids, allowed by the former name", []string{"--listen", "shell+tls://0.0.0.0:1", "--tokens", tokens, "--session-ids", "djb", "--accept-guessable-ids"}, ""},
		{"predictable ids on loopback", []string{"--listen", "shell+tcp://127.0.0.1:1", "--session-ids", "djb"}, ""},
		{"certificates without CA", []string{"--listen", ":1", "--operator", "cn:ann"}, "--client-ca"},
		{"no such program", []string{"--listen", ":1", "--program", "x=/no/such/file"}, "/no/such/file"},
		{"a relative program", []string{"--listen", ":1", "--program", "x=date"}, "absolute"},
		{"no such root", []string{"--listen", ":1", "--shell-root", "/no/such/dir"}, "--shell-root"},
		{"no such state", []string{"--listen", ":1", "--state", "/no/such/dir"}, "--state"},
		{"no tokens", []string{"--listen", ":1", "--tokens", "/no/such/file"}, "--tokens"},
	} {
		var stderr bytes.Buffer
		_, code, done := parse(c.args, io.Discard, &stderr)
		if done != (c.want != "") || done && (code != exitUsage || !strings.Contains(stderr.String(), c.want)) {
			t.Errorf("%s: got done %v and exit code %d, want %q in\n%s", c.name, done, code, c.want, &stderr)
		}
	}
}

package main

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/conns"
	"goranch/internal/settings"
)

var update = flag.Bool("update", false, "write golden files and docs/configuration.md")

// writeConfig writes a configuration file.
func writeConfig(t testing.TB, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "r.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// The file of ranchd config --default has the effect of no file.
func TestDefaultFile(t *testing.T) {
	setDefaultAdmin(t)
	var out bytes.Buffer
	if code := printConfig([]string{"--default"}, &out, io.Discard); code != exitOK {
		t.Fatalf("got exit code %d, want %d", code, exitOK)
	}
	got := mustParse(t, "--config", writeConfig(t, out.String()))
	if diff := cmp.Diff(newDefaults(), got, compareConfig); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, k := range spec.Keys {
		if want := mustParse(t).process; k.Text(&got.process.flags) != k.Text(&want.flags) {
			t.Errorf("%s: got %q, want %q", k.Name, k.Text(&got.process.flags), k.Text(&want.flags))
		}
		if !regexp.MustCompile(`(?m)^(# )?` + k.Name + ` = `).MatchString(out.String()) {
			t.Errorf("got no key %s, want it or an example", k.Name)
		}
	}
}

// The examples of keys without a default are valid.
func TestExamplesAreValid(t *testing.T) {
	for table, keys := range map[string][]settings.Key{"": spec.Keys, listenerTable: spec.Tables[0].Keys, routeTable: routeKeysTable, limitsName: limitsTable, networkTable: networkKeysTable} {
		for _, k := range keys {
			if k.Default != "" {
				continue
			}
			if k.Example == "" {
				t.Errorf("%s: got neither a default nor an example, want one", k.Name)
			}
			header := map[string]string{"": "", listenerTable: "[[listener]]\n", routeTable: "[[listener]]\n[[listener.route]]\n", limitsName: "[limits.x]\n", networkTable: "[[network]]\n"}[table]
			if _, err := spec.Parse("f", []byte(header+k.Name+" = "+k.Example+"\n")); err != nil {
				t.Errorf("example of %s: got %v, want no fault", k.Name, err)
			}
		}
	}
}

// flagValues are values that differ from the defaults, for flags and for files.
var flagValues = map[string]struct{ flag, file string }{
	"admin": {"unix:/a", `"unix:/a"`}, "admin-http": {"127.0.0.1:9", `"127.0.0.1:9"`}, "admin-http-host": {"a.org,*.b.org", `["a.org", "*.b.org"]`},
	"operator": {"0,1", `["0", "1"]`}, "viewer": {"2", `"2"`},
	"shell-root": {"none", `"none"`}, "program": {"x=/bin/date -u", `"x=/bin/date -u"`}, "session-ttl": {"3m", `"3m"`},
	"max-sessions": {"7", "7"}, "max-sessions-per-address": {"unlimited", `"unlimited"`}, "session-ids": {"djb", `"djb"`},
	"allowed-origin": {"a.example.org", `["a.example.org"]`}, "allowed-host": {"b.example.org,*.c", `["b.example.org", "*.c"]`},
	"sni-unknown": {"refuse", `"refuse"`}, "tls-min": {"1.3", `"1.3"`},
	"max-connections": {"5", "5"}, "acceptors": {"3", "3"}, "listen-sockets": {"2", "2"}, "backlog": {"9", "9"}, "unix-mode": {"0660", `"0660"`},
	"handshake-timeout": {"1s", `"1s"`}, "send-timeout": {"infinity", `"infinity"`}, "shutdown-timeout": {"0", "0"},
	"upgrade-timeout": {"1m", `"1m"`}, "upgrade-drain": {"0", "0"}, "upgrade-processes": {"3", "3"},
	"proxy-from": {"10.0.0.0/8,local", `["10.0.0.0/8", "local"]`}, "refuse-after": {"2s", `"2s"`}, "max-per-address": {"4", "4"},
	"address-rate": {"0.5", "0.5"}, "accept-rate": {"100:20", `"100:20"`}, "max-handshakes": {"8", "8"},
	"login-timeout": {"10s", `"10s"`}, "max-unestablished": {"9", "9"}, "idle-timeout": {"5m", `"5m"`},
	"lifetime": {"1h", `"1h"`}, "upstream": {"10.0.0.1:1 weight=2", `["10.0.0.1:1 weight=2"]`}, "alarm-descriptors": {"0.5", "0.5"}, "log-level": {"warn", `"warn"`}, "access-log": {"-", `"-"`}, "drain-delay": {"1s", `"1s"`}, "drain-spread": {"2m", `"2m"`}, "log-format": {"json", `"json"`},
}

// Every flag has the same effect as the key of the same name in a file, and overrides it.
func TestFlagsAndFileAgree(t *testing.T) {
	setDefaultAdmin(t)
	os.Unsetenv("RANCHD_ADMIN") // t.Setenv restores them
	os.Unsetenv("RANCHD_ADMIN_HTTP")
	cert, key := newCertificateFiles(t)
	dir := t.TempDir()
	tokens := filepath.Join(dir, "tokens")
	for _, file := range []string{tokens, filepath.Join(dir, "bans")} {
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	quote := func(s string) string { return "'" + s + "'" }
	values := map[string]struct{ flag, file string }{
		"cert": {cert, quote(cert)}, "key": {key, "[" + quote(key) + "]"}, "client-ca": {cert, quote(cert)}, "tokens": {tokens, quote(tokens)},
		"state": {dir, quote(dir)}, "ban-file": {filepath.Join(dir, "bans"), quote(filepath.Join(dir, "bans"))}, "plain-tokens": {"true", "true"}, "reload-interval": {"7s", `"7s"`},
	}
	for name, v := range flagValues {
		values[name] = v
	}
	needs := map[string][]string{ // other keys without which the key is a fault
		"cert": {"key"}, "key": {"cert"}, "client-ca": {"cert", "key"}, "sni-unknown": {"cert", "key"}, "plain-tokens": {"tokens"}, "proxy-from": {"tokens", "plain-tokens"},
	}
	for _, k := range flagKeys {
		v, ok := values[k.Name]
		var args []string
		text := ""
		if _, isBool := k.Get(new(flags)).(bool); isBool {
			args, text = []string{"--" + k.Name}, k.Name+" = true\n"
		} else if !ok {
			t.Errorf("%s: got no values for this test, want some", k.Name)
			continue
		} else {
			args, text = []string{"--" + k.Name, v.flag}, k.Name+" = "+v.file+"\n"
		}
		for _, other := range needs[k.Name] {
			args = append(args, "--"+other+"="+values[other].flag)
			text += other + " = " + values[other].file + "\n"
		}
		file := writeConfig(t, text)
		byFlag, byFile := mustParse(t, args...), mustParse(t, "-c", file)
		if diff := cmp.Diff(byFlag, byFile, compareConfig); diff != "" {
			t.Errorf("%s (-flag +file):\n%s", k.Name, diff)
		}
		for _, key := range spec.Keys {
			if got, want := key.Text(&byFile.process.flags), key.Text(&byFlag.process.flags); got != want {
				t.Errorf("%s: got %s %q in the file, want %q as with the flag", k.Name, key.Name, got, want)
			}
		}
		if cmp.Equal(mustParse(t), byFlag, compareConfig) && !slices.Contains([]string{"reload-interval", "allow-predictable-ids", "ban-file", "upstream"}, k.Name) {
			t.Errorf("%s: got the defaults, want an effect", k.Name)
		}
	}
}

// Limits of the login phase apply to protocols with a login only.
func TestLoginLimits(t *testing.T) {
	c := mustParse(t, "--listen", "topics+tcp://:1", "--listen", "tcp://:2", "--listen", "shell+tcp://127.0.0.1:3", "--login-timeout", "20s", "--max-unestablished", "7")
	for i, want := range []conns.Limits{{LoginTimeout: 20 * time.Second, MaxUnestablished: 7}, {}, {LoginTimeout: 20 * time.Second, MaxUnestablished: 7}} {
		l := c.Listeners[i]
		if got := l.Options.Limits; got.LoginTimeout != want.LoginTimeout || got.MaxUnestablished != want.MaxUnestablished {
			t.Errorf("%s: got %v and %d, want %v and %d", l.Name, got.LoginTimeout, got.MaxUnestablished, want.LoginTimeout, want.MaxUnestablished)
		}
	}
}

// Flags, and the environment, override keys at the top of the file and in its tables.
func TestFlagsOverrideTheFile(t *testing.T) {
	file := writeConfig(t, "max-connections = 5\nidle-timeout = '1m'\n[[listener]]\naddress = ':1'\nmax-connections = 6\n[[listener]]\naddress = ':2'\n")
	caps := func(c *config) (list []int) {
		for _, l := range c.Listeners {
			list = append(list, l.Options.MaxConnections)
		}
		return list
	}
	if diff := cmp.Diff([]int{6, 5}, caps(mustParse(t, "-c", file))); diff != "" {
		t.Errorf("file (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]int{7, 7}, caps(mustParse(t, "-c", file, "--max-connections", "7"))); diff != "" {
		t.Errorf("file and flag (-want +got):\n%s", diff)
	}
	t.Setenv("RANCHD_MAX_CONNECTIONS", "8")
	if diff := cmp.Diff([]int{8, 8}, caps(mustParse(t, "--config", file))); diff != "" {
		t.Errorf("file and environment (-want +got):\n%s", diff)
	}
	c := mustParse(t, "-c", file, "--listen", "a=:3")
	if len(c.Listeners) != 1 || c.Listeners[0].Name != "a" {
		t.Errorf("file and --listen: got %v, want the listener of the flag", c.Listeners)
	}
}

// Each listener has settings of its own, and a protocol can be used by several.
func TestListenersOfTheirOwn(t *testing.T) {
	dir := t.TempDir()
	a, b := newPair(t, dir, "a.test"), newPair(t, dir, "b.test")
	c := mustParse(t, "-c", writeConfig(t, `
tls-min = "1.3"
[[listener]]
name = "one"
address = "tls://0.0.0.0:1"
cert = '`+a.cert+`'
key = '`+a.key+`'
tls-min = "1.2"
[[listener]]
name = "two"
address = "tls://:2"
protocol = "packet"
cert = '`+b.cert+`'
key = '`+b.key+`'
client-ca = '`+a.cert+`'
[[listener]]
name = "three"
address = "tcp://:3"
protocol = "packet"
service = "other"
max-frame = 1000
proxy-from = "10.0.0.0/8"
[[listener]]
name = "four"
address = "unix:/x"
protocol = "admin"
operator = ["0"]
`))
	type listener struct {
		Name, Service string
		TLSMin        uint16
		MaxFrame      int
		Proxied       bool
	}
	var got []listener
	for _, l := range c.Listeners {
		got = append(got, listener{l.Name, l.service().String(), l.TLSMin, l.Packet.MaxFrame, l.Proxies.any()})
	}
	want := []listener{{"one", "echo", 0x0303, 0, false}, {"two", "packet", 0x0304, 262144, false}, {"three", "packet other", 0x0304, 1000, true}, {"four", "admin four", 0x0304, 0, false}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if s := c.Listeners[0].Store; s == nil || s == c.Listeners[1].Store || s.Certificates()[0].Names[0] != "a.test" {
		t.Errorf("certificates: got %v and %v, want those of each listener", c.Listeners[0].Store, c.Listeners[1].Store)
	}
	if !c.Listeners[3].Access.HasPeerRules {
		t.Error("operators: got no rules, want one")
	}
}

// Every kind of fault is in a file of testdata/faults, with the messages that follow it.
func TestConfigFaults(t *testing.T) {
	files, err := filepath.Glob("testdata/faults/*.toml")
	if err != nil || len(files) == 0 {
		t.Fatalf("got no files and error %v, want some", err)
	}
	t.Chdir("testdata/faults")
	for _, file := range files {
		file = filepath.Base(file)
		t.Run(file, func(t *testing.T) {
			var out, log bytes.Buffer
			_, code, done := parse([]string{"check", file}, &out, &log)
			if !done || code != exitUsage || out.Len() > 0 {
				t.Errorf("got done %v, exit code %d and output %q, want exit code %d", done, code, &out, exitUsage)
			}
			golden := strings.TrimSuffix(file, ".toml") + ".txt"
			if *update {
				if err := os.WriteFile(golden, log.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), log.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestConfigCommands(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"config"}, exitUsage, "allowed is one of --default and --schema"},
		{[]string{"config", "--default", "--schema"}, exitUsage, "allowed is one of --default and --schema"},
		{[]string{"config", "--defaults"}, exitUsage, "unknown flag --defaults"},
		{[]string{"config", "--help"}, exitOK, "--schema"},
		{[]string{"config", "--schema"}, exitOK, `"$schema"`},
		{[]string{"check"}, exitUsage, "the name of the configuration file is missing"},
		{[]string{"check", "--help"}, exitOK, "ranchd check FILE"},
		{[]string{"check", "no-such-file"}, exitUsage, `--config "no-such-file": no such file`},
		{[]string{"check", "."}, exitUsage, `--config ".": not a regular file`},
		{[]string{"-c", "no-such-file", "--max-connections", "0"}, exitUsage, `--max-connections "0"`},
	} {
		var out bytes.Buffer
		_, code, done := parse(c.args, &out, &out)
		if !done || code != c.code || !strings.Contains(out.String(), c.want) {
			t.Errorf("%q: got done %v, exit code %d and output\n%s\nwant exit code %d and %q", c.args, done, code, &out, c.code, c.want)
		}
	}
}

// FuzzConfig checks that every file is read, or has faults with their line, without other effects.
func FuzzConfig(f *testing.F) {
	files, _ := filepath.Glob("testdata/faults/*.toml")
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
	f.Add(defaultFile())
	f.Fuzz(func(t *testing.T, text string) {
		c := &config{process: &scope{places: map[string]place{}}}
		settings.SetDefaults(&c.process.flags, allKeys)
		doc, err := spec.Parse("f", []byte(text))
		if doc == nil {
			return
		}
		all := newFaults()
		if err != nil {
			all.put(err)
		}
		c.process.set("f", doc.Top, "", nil)
		// Files that a text may name are not opened.
		c.process.BanFile, c.process.Tokens, c.process.State, c.process.Program, c.process.Cert, c.process.Key, c.process.ClientCA, c.process.UpstreamCA = "", "", "", nil, nil, nil, nil, nil
		for _, s := range c.listenerScopes(all, doc) {
			s.Tokens, s.Program, s.Cert, s.Key, s.ClientCA, s.UpstreamCA = "", nil, nil, nil, nil, nil
			c.addListener(all, s)
		}
		c.nameListeners()
		c.readProcess(all, false)
		for _, l := range c.Listeners {
			c.readListener(all.in(l.scope.places), l)
		}
		c.readTables(all, doc)
		c.checkServices(all)
		if err := all.err(); err != nil {
			for _, fault := range faultsOf(err) {
				if strings.ContainsAny(fault.Error(), "\x00\x1b\x07\r\n") {
					t.Errorf("got fault %q, want one without control characters", fault)
				}
			}
			return
		}
		if err := c.checkListeners(); err != nil {
			t.Errorf("got %v from package ranch, want no fault that the checks do not find", err)
		}
	})
}

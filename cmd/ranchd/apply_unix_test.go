//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/ranch"
	"goranch/ranch/admin"
	"goranch/transport"
)

// configured is a daemon in this process with a configuration file.
type configured struct {
	*program
	*daemon
	file string
}

func startConfigured(t *testing.T, text string) *configured {
	t.Helper()
	c := &configured{file: writeConfig(t, "quiet = true\nlog-level = 'debug'\n"+text)}
	c.daemon = newDaemon(mustParse(t, "-c", c.file))
	c.program = startFunc(t, func(p *program, ctx context.Context) int {
		c.daemon.log, c.daemon.stdout = newLogger(&p.log, logJSON, &c.logLevel), &p.out
		return c.run(ctx, p.signals)
	})
	c.program.log.event(t, "serving", nil)
	return c
}

// reload replaces the file and reloads it.
func (c *configured) reload(t *testing.T, text string) ([]admin.Change, error) {
	t.Helper()
	if err := os.WriteFile(c.file, []byte("quiet = true\nlog-level = 'debug'\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	return c.reloadCommand(t.Context())
}

// wantChanges reloads and compares the answer.
func (c *configured) wantChanges(t *testing.T, text string, want ...string) {
	t.Helper()
	changes, err := c.reload(t, text)
	if err != nil {
		t.Fatalf("reload: got %v, want no error", err)
	}
	var got []string
	for _, ch := range changes {
		line := fmt.Sprintf("%s %s: %s -> %s: %s", ch.Listener, ch.Key, ch.Before, ch.After, ch.Effect)
		got = append(got, strings.TrimSpace(strings.ReplaceAll(line, ":  ->", ": ->")))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

func (c *configured) listener(t *testing.T, name string) *ranch.Listener {
	t.Helper()
	l, err := c.server.Listener(name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// dial connects to a listener over TCP.
func (c *configured) dial(t *testing.T, name string) net.Conn {
	t.Helper()
	return dial(t, transport.TCP{}, c.listener(t, name).Addr().String())
}

const one = "[[listener]]\nname = 'a'\naddress = 'tcp://127.0.0.1:0'\n"

func TestReloadOptions(t *testing.T) {
	c := startConfigured(t, one)
	nc := c.dial(t, "a")
	checkEcho(t, nc)
	c.wantChanges(t, one)
	c.wantChanges(t, "idle-timeout = '5m'\nshutdown-timeout = '1s'\n"+one+"max-connections = 7\naccept-rate = '5:10'\nevict = 'oldest'\n",
		"shutdown-timeout: 5s -> 1s: changed now",
		"a max-connections: -> 7: changed now",
		"a accept-rate: unlimited -> 5:10: changed now",
		"a idle-timeout: infinity -> 5m: changed now",
		"a evict: none -> oldest: changed now")
	l := c.listener(t, "a")
	if o := l.Options(); l.Info().MaxConnections != 7 || o.AcceptRate.Burst != 10 || o.IdleTimeout != 5*time.Minute || o.Evict != "oldest" {
		t.Errorf("options: got a cap of %d and %+v, want those of the file", l.Info().MaxConnections, o)
	}
	if got := c.config().ShutdownTimeout; got != time.Second {
		t.Errorf("shutdown timeout: got %v, want 1s", got)
	}
	checkEcho(t, nc)
}

// A reload changes only what differs between the files: operators may have changed other options.
func TestReloadKeepsChangesOfOperators(t *testing.T) {
	c := startConfigured(t, one+"max-connections = 7\n")
	l := c.listener(t, "a")
	if err := l.SetMaxConnections(0); err != nil {
		t.Fatal(err)
	}
	l.ChangeOptions(func(o *ranch.Options) { o.PerAddress = 3 })
	c.wantChanges(t, one+"max-connections = 7\nsend-timeout = '1s'\nidle-timeout = '1m'\n",
		"a send-timeout: 30s -> 1s: at resume", "a idle-timeout: infinity -> 1m: changed now")
	if o := l.Options(); l.Info().MaxConnections != 0 || o.PerAddress != 3 || o.IdleTimeout != time.Minute {
		t.Errorf("got a cap of %d and %+v, want 0, and 3 per address", l.Info().MaxConnections, o.Limits)
	}
	c.wantChanges(t, one+"max-connections = 8\n",
		"a max-connections: 7 -> 8: changed now", "a send-timeout: 1s -> 30s: at resume", "a idle-timeout: 1m -> infinity: changed now")
	if got := l.Info().MaxConnections; got != 8 {
		t.Errorf("cap: got %d, want 8", got)
	}
}

// What needs a resume is in force after it, and not before.
func TestReloadAtResume(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.sock")
	c := startConfigured(t, one)
	l := c.listener(t, "a")
	before := l.Addr().String()
	c.wantChanges(t, "[[listener]]\nname = 'a'\naddress = 'unix:"+path+"'\nacceptors = 3\nunix-mode = '0600'\n",
		"a address: tcp://127.0.0.1:0 -> unix://"+path+": at resume", "a acceptors: -> 3: at resume", "a unix-mode: -> 0600: at resume")
	checkEcho(t, dial(t, transport.TCP{}, before))
	if err := errors.Join(l.Suspend(), l.Resume()); err != nil {
		t.Fatal(err)
	}
	checkEcho(t, dial(t, transport.TCP{}, "unix:"+path))
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 || l.Info().NumAcceptors != 3 {
		t.Errorf("got mode %v, error %v and %d acceptors, want 0600 and 3", fi.Mode(), err, l.Info().NumAcceptors)
	}
	c.wantChanges(t, "[[listener]]\nname = 'a'\naddress = 'unix:"+path+"'\nacceptors = 3\nunix-mode = '0600'\n")
}

// A changed protocol serves new connections; others continue.
func TestReloadProtocol(t *testing.T) {
	c := startConfigured(t, one)
	old := c.dial(t, "a")
	checkEcho(t, old)
	c.wantChanges(t, one+"protocol = 'packet'\n", "a protocol: echo -> packet: changed now")
	checkPacket := func(want bool) {
		t.Helper()
		nc := c.dial(t, "a")
		io.WriteString(nc, "\x00\x00\x00\x28"+`{"jsonrpc":"2.0","method":"time","id":1}`)
		b := make([]byte, 44)
		if _, err := io.ReadFull(nc, b); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(b), `"result"`); got != want {
			t.Errorf("got answer %q, want one of the packet server: %v", b, want)
		}
	}
	checkPacket(true)
	checkEcho(t, old)
	c.wantChanges(t, one+"protocol = 'packet'\nmax-frame = 300\n", "a max-frame: 262144 -> 300: changed now")
	checkPacket(true)
	c.wantChanges(t, one, "a protocol: packet -> echo: changed now")
	checkPacket(false)
}

// Settings that need a restart are reported by each reload.
func TestReloadNeedsRestart(t *testing.T) {
	const topics = "[[listener]]\nname = 'a'\naddress = 'tcp://127.0.0.1:0'\nprotocol = 'topics'\n"
	c := startConfigured(t, topics)
	changed := "log-format = 'json'\n" + topics + "session-ttl = '5m'\nmax-frame = 300\n"
	want := []string{"log-format: auto -> json: needs a restart", "a session-ttl: 10m -> 5m: needs a restart", "a max-frame: 262144 -> 300: needs a restart"}
	c.wantChanges(t, changed, want...)
	c.wantChanges(t, changed, want...)
	c.wantChanges(t, topics)
}

func TestReloadListeners(t *testing.T) {
	const two = "[[listener]]\nname = 'b'\naddress = 'tcp://127.0.0.1:0'\nprotocol = 'topics'\n"
	c := startConfigured(t, one)
	old := c.dial(t, "a")
	checkEcho(t, old)
	c.wantChanges(t, one+two, "b : -> topics+tcp://127.0.0.1:0: added")
	c.dial(t, "b").Close()
	if got := len(c.allServices()); got != 2 {
		t.Errorf("services: got %d, want 2", got)
	}
	c.wantChanges(t, two, "a : tcp://127.0.0.1:0 -> : draining")
	old.SetReadDeadline(time.Now().Add(timeout))
	if _, err := old.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("connection of a removed listener: got %v, want its end", err)
	}
	c.program.log.event(t, "listener stopped", map[string]any{"listener": "a"})
	c.removed.Wait()
	if _, err := c.server.Listener("a"); err == nil {
		t.Error("removed listener: got one, want none")
	}
	if got := c.allServices(); len(got) != 1 || got[0].key.protocol != topicsService {
		t.Errorf("services: got %v, want topics only", got)
	}
	c.wantChanges(t, one, "a : -> tcp://127.0.0.1:0: added", "b : topics+tcp://127.0.0.1:0 -> : draining")
	checkEcho(t, c.dial(t, "a"))
	c.removed.Wait()
	c.wantChanges(t, "listener = []\n", "a : tcp://127.0.0.1:0 -> : draining")
}

// A listener that is renamed takes over the address of the previous one.
func TestReloadRename(t *testing.T) {
	addr := freeAddr(t)
	c := startConfigured(t, "[[listener]]\nname = 'a'\naddress = '"+addr+"'\n")
	c.wantChanges(t, "[[listener]]\nname = 'b'\naddress = '"+addr+"'\n", "b : -> tcp://"+addr+": added", "a : tcp://"+addr+" -> : draining")
	checkEcho(t, dial(t, transport.TCP{}, addr))
	if got := c.listener(t, "b").Addr().String(); got != addr {
		t.Errorf("address: got %s, want %s", got, addr)
	}
}

// freeAddr returns an address that was free a moment ago.
func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// An operator can start a listener that was drained by hand again.
func TestReloadStartsDrainedListener(t *testing.T) {
	c := startConfigured(t, one)
	if err := c.server.Drain(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	c.wantChanges(t, one, "a : -> tcp://127.0.0.1:0: added")
	checkEcho(t, c.dial(t, "a"))
}

// Changed certificates and versions of TLS apply to the next handshake.
func TestReloadTLS(t *testing.T) {
	dir := t.TempDir()
	a, b := newPair(t, dir, "a.test"), newPair(t, dir, "b.test")
	text := func(p pair, more string) string {
		return fmt.Sprintf("[[listener]]\nname = 'a'\naddress = 'tls://127.0.0.1:0'\ncert = '%s'\nkey = '%s'\n%s", p.cert, p.key, more)
	}
	c := startConfigured(t, text(a, ""))
	addr := c.listener(t, "a").Addr().String()
	old := dial(t, a.client("a.test"), addr)
	checkEcho(t, old)
	c.wantChanges(t, text(b, ""), "a cert: "+a.cert+" -> "+b.cert+": changed now", "a key: "+a.key+" -> "+b.key+": changed now")
	checkEcho(t, dial(t, b.client("b.test"), addr))
	checkEcho(t, old)
	c.wantChanges(t, text(b, "tls-min = '1.3'\nclient-ca = '"+a.cert+"'\n"), "a client-ca: -> "+a.cert+": changed now", "a tls-min: 1.2 -> 1.3: changed now")
	checkEcho(t, dial(t, b.client("b.test", a.tls), addr))
	none := b.client("b.test", a.tls)
	none.Config.MaxVersion = 0x0303
	if nc, err := none.Dial(t.Context(), addr); err == nil {
		nc.Close()
		t.Error("TLS 1.2: got a connection, want an error")
	}
}

// A reload that fails changes nothing.
func TestReloadFaults(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	addr := freeAddr(t)
	text := "[[listener]]\nname = 'a'\naddress = '" + addr + "'\nmax-connections = 7\n"
	c := startConfigured(t, text)
	nc := c.dial(t, "a")
	checkEcho(t, nc)
	changed := "[[listener]]\nname = 'a'\naddress = '" + addr + "'\nmax-connections = 8\n[[listener]]\nname = 'b'\naddress = '127.0.0.1:0'\nprotocol = 'topics'\n"
	for name, f := range map[string]struct{ text, want string }{
		"port taken":          {changed + "[[listener]]\nname = 'c'\naddress = '" + taken.Addr().String() + "'\n", `:13: listener c: address "` + taken.Addr().String() + `": `},
		"missing certificate": {changed + "[[listener]]\nname = 'c'\naddress = 'tls://127.0.0.1:0'\ncert = 'missing'\nkey = 'missing'\n", `:14: listener c: cert "missing": no such file`},
		"bad value":           {changed + "idle-timeout = 5\n", ":11: listener: idle-timeout 5: allowed are"},
		"not TOML":            {changed + "x", "not valid TOML"},
		"renamed, port taken": {strings.ReplaceAll(changed, "'a'", "'z'") + "[[listener]]\nname = 'c'\naddress = '" + taken.Addr().String() + "'\n", "address already in use"},
	} {
		t.Run(name, func(t *testing.T) {
			changes, err := c.reload(t, f.text)
			if err == nil || !strings.Contains(err.Error(), f.want) {
				t.Errorf("got changes %v and error %v, want %q in it", changes, err, f.want)
			}
			var names []string
			for _, l := range c.server.Listeners() {
				names = append(names, l.Ref())
			}
			if !slices.Equal(names, []string{"a"}) || c.listener(t, "a").Info().MaxConnections != 7 || c.listener(t, "a").Info().Status != ranch.Running {
				t.Errorf("got listeners %v and %+v, want those before", names, c.listener(t, "a").Info())
			}
			if got := len(c.allServices()); got != 1 {
				t.Errorf("got %d services, want that of echo", got)
			}
			if ok, at := c.lastReload(); ok || at.Before(c.started) {
				t.Errorf("last reload: got %v at %v, want a failure since the start", ok, at)
			}
			checkEcho(t, nc)
			checkEcho(t, c.dial(t, "a"))
		})
	}
	if err := os.Remove(c.file); err != nil {
		t.Fatal(err)
	}
	if _, err := c.reloadCommand(t.Context()); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("no file: got %v, want an error", err)
	}
	c.wantChanges(t, changed, "a max-connections: 7 -> 8: changed now", "b : -> topics+tcp://127.0.0.1:0: added")
	if ok, _ := c.lastReload(); !ok {
		t.Error("last reload: got a failure, want success")
	}
}

// A listener cannot be started while the previous one of its name drains.
func TestReloadWhileDraining(t *testing.T) {
	c := startConfigured(t, "shutdown-timeout = 'infinity'\n"+one)
	nc := c.dial(t, "a")
	fillBuffers(t, nc)
	c.wantChanges(t, "shutdown-timeout = 'infinity'\nlistener = []\n", "a : tcp://127.0.0.1:0 -> : draining")
	if _, err := c.reload(t, "shutdown-timeout = 'infinity'\n"+one); err == nil || !strings.Contains(err.Error(), "still draining") {
		t.Errorf("got %v, want an error that the listener is draining", err)
	}
	nc.Close()
	c.removed.Wait()
	c.wantChanges(t, "shutdown-timeout = 'infinity'\n"+one, "a : -> tcp://127.0.0.1:0: added")
}

// SIGTERM during reloads stops the daemon, and reloads after it are refused.
func TestStopDuringReload(t *testing.T) {
	if !requestsReload(syscall.SIGHUP) {
		t.Skip("SKIPPED: this system has no SIGHUP; run the test on Unix")
	}
	for i := range 10 {
		c := startConfigured(t, one)
		os.WriteFile(c.file, []byte("quiet = true\n"+strings.Repeat("\n", i)+one+strings.ReplaceAll(one, "'a'", "'b'")), 0o600)
		for range 1 + i%3 {
			c.signals <- syscall.SIGHUP
		}
		c.signals <- syscall.SIGTERM
		c.wantExit(t, exitOK)
		if _, err := c.reloadCommand(t.Context()); err != errStopping {
			t.Errorf("reload after the stop: got %v, want %v", err, errStopping)
		}
	}
}

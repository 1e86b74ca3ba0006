package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"goranch/protocol/shell/client"
	"goranch/ranch"
	"goranch/transport"
)

// accessLine waits for a line of the access log of a listener.
func accessLine(t *testing.T, path, listener string) map[string]any {
	t.Helper()
	for end := time.Now().Add(timeout); time.Now().Before(end); <-time.After(time.Millisecond) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			var m map[string]any
			if json.Unmarshal([]byte(line), &m) == nil && m["listener"] == listener {
				return m
			}
		}
	}
	t.Fatalf("%s: got no line of %s", path, listener)
	panic("unreachable")
}

// Each connection has a line when it has ended. A reload opens the file again.
func TestAccessLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	p := startProgram(t, "--listen", "a=127.0.0.1:0", "--listen", "s=shell+tcp://127.0.0.1:0", "--admin", "none", "--quiet", "--access-log", path)
	nc := dial(t, transport.TCP{}, p.log.addr(t, "a"))
	checkEcho(t, nc)
	nc.Close()
	if m := accessLine(t, path, "a"); m["reason"] != "finished" || m["received"] != 5.0 || m["sent"] != 5.0 || m["peer"] != nc.LocalAddr().String() {
		t.Errorf("got %v, want the connection that has ended", m)
	}
	old := path + ".1"
	if err := os.Rename(path, old); err != nil {
		t.Fatal(err)
	}
	p.signals <- syscall.SIGHUP
	p.log.event(t, "access log opened again", map[string]any{"file": path})
	sh, err := client.Dial(t.Context(), client.Options{Transport: transport.TCP{}, Addr: p.log.addr(t, "s")})
	if err != nil {
		t.Fatal(err)
	}
	sh.Quit(t.Context())
	m := accessLine(t, path, "s")
	labels, _ := m["labels"].(map[string]any)
	if id, _ := labels["client"].(string); len(id) != 8 || labels["user"] != m["peer"] || labels["protocol"] != "shell" {
		t.Errorf("got labels %v, want user, client and protocol", labels)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	p.signals <- syscall.SIGHUP
	p.log.event(t, "opening the access log again failed; the previous file stays in use", map[string]any{"level": "ERROR"})
	p.signals <- syscall.SIGTERM
	p.wantExit(t, exitOK)
}

// The access log can be standard output.
func TestAccessLogOnStandardOutput(t *testing.T) {
	p := startProgram(t, "--listen", "a=127.0.0.1:0", "--admin", "none", "--quiet", "--access-log", "-")
	nc := dial(t, transport.TCP{}, p.log.addr(t, "a"))
	checkEcho(t, nc)
	nc.Close()
	p.out.line(t, "the end of the connection", func(line string) bool { return strings.Contains(line, `"listener":"a"`) })
	p.signals <- syscall.SIGTERM
	p.wantExit(t, exitOK)
}

// A file that cannot be opened ends the program before it opens a socket.
func TestAccessLogThatCannotBeOpened(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	if err := os.Symlink(filepath.Join(path, "missing", "file"), path); err != nil {
		t.Skipf("SKIPPED: symlink: %v; run on a file system with symbolic links: go test ./cmd/ranchd -run AccessLog", err)
	}
	p := startProgram(t, "--listen", "a=127.0.0.1:0", "--admin", "none", "--access-log", path)
	p.wantExit(t, exitFailed)
	p.log.event(t, "opening the access log failed", nil)
	if strings.Contains(p.log.String(), "listener started") {
		t.Errorf("got log\n%s\nwant no listener", &p.log)
	}
}

// During the delay of a stop ranchd accepts connections and says that it is draining; then it asks
// connections to stop over the spread. The operators' shell is the last.
func TestDrainDelayAndSpread(t *testing.T) {
	p := startProgram(t, "--listen", "a=127.0.0.1:0", "--admin", "unix:"+filepath.Join(t.TempDir(), "a"), "--admin-http", "127.0.0.1:0", "--quiet",
		"--drain-delay", "300ms", "--drain-spread", "300ms", "--shutdown-timeout", "20s")
	addr := p.log.addr(t, "a")
	ready := func(want int) {
		t.Helper()
		c := http.Client{Timeout: timeout}
		defer c.CloseIdleConnections()
		res, err := c.Get("http://" + p.log.addr(t, "admin-http") + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("/readyz: got status %d, want %d", res.StatusCode, want)
		}
	}
	p.log.event(t, "serving", nil)
	ready(http.StatusOK)
	var all []io.Reader
	for range 20 {
		nc := dial(t, transport.TCP{}, addr)
		checkEcho(t, nc)
		all = append(all, nc)
	}
	last := dial(t, transport.TCP{}, addr) // keeps ranchd from exiting before the requests below
	fillBuffers(t, last)
	began := time.Now()
	p.signals <- syscall.SIGTERM
	p.log.event(t, "listener draining", map[string]any{"listener": "a", "delay": float64(300 * time.Millisecond)})
	if nc, err := (transport.TCP{}).Dial(context.Background(), addr); err == nil {
		nc.Close()
	} else if time.Since(began) < 200*time.Millisecond {
		t.Errorf("dial during the delay: got %v, want a connection", err)
	}
	ready(http.StatusServiceUnavailable)
	for _, nc := range all {
		if _, err := io.ReadAll(nc); err != nil {
			t.Errorf("client: got %v, want the end in order", err)
		}
	}
	io.Copy(io.Discard, last)
	p.wantExit(t, exitOK)
	if took := time.Since(began); took < 300*time.Millisecond {
		t.Errorf("got a stop of %v, want at least the delay", took)
	}
	text := p.log.String()
	if a, admin := strings.Index(text, `"listener stopped","listener":"a"`), strings.Index(text, `"listener stopped","listener":"admin"`); a < 0 || admin < a {
		t.Errorf("got log\n%s\nwant the end of admin after that of a", text)
	}
}

// A failed start is not delayed by --drain-delay.
func TestFailedStartIsNotDelayed(t *testing.T) {
	p := startProgram(t, "--listen", "a=127.0.0.1:0", "--listen", "b=unix:/no/such/directory/b", "--admin", "none", "--drain-delay", "1h", "--drain-spread", "1h")
	p.wantExit(t, exitFailed)
}

// The listeners of operators have no delay and no spread.
func TestDrainOptions(t *testing.T) {
	c := mustParse(t, "--listen", "a=:1", "--admin", "unix:/a", "--drain-delay", "5s", "--drain-spread", "2m")
	for _, e := range c.Listeners {
		want := ranch.Options{DrainDelay: 5 * time.Second, DrainSpread: 2 * time.Minute}
		if e.Service.isOperators() {
			want = ranch.Options{}
		}
		if o := c.options(e); o.DrainDelay != want.DrainDelay || o.DrainSpread != want.DrainSpread {
			t.Errorf("%s: got delay %v and spread %v, want %v and %v", e.Name, o.DrainDelay, o.DrainSpread, want.DrainDelay, want.DrainSpread)
		}
	}
	dir := t.TempDir()
	checkFaults(t, []string{"--drain-delay=-1s", "--drain-spread", "25h", "--access-log", dir}, []string{
		`--drain-delay "-1s": allowed are 0 and durations`, `--drain-spread "25h": allowed are 0 and durations such as 500ms, 5s or 2m, up to 24h0m0s`,
		`--access-log "` + dir + `": it is a directory`,
	})
	checkFaults(t, []string{"--access-log", filepath.Join(dir, "x", "a.log")}, []string{"no such directory"})
}

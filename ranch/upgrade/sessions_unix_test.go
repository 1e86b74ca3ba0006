//go:build unix

package upgrade_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func shellConfig() childConfig {
	return childConfig{Listeners: []childListener{{Ref: "shell", Addr: "127.0.0.1:0", Shell: true}}, State: true, Timeout: 20 * time.Second, Drain: testTimeout}
}

// shellClient is a connection to a shell.
type shellClient struct {
	client
	in *bufio.Reader
	id string // of the session that was created for the connection
}

func (f *fleet) dialShell(addr string) *shellClient {
	f.t.Helper()
	c := &shellClient{client: f.dial("tcp", addr)}
	c.in = bufio.NewReader(c)
	id, ok := strings.CutPrefix(c.line(), "Client identification ")
	if !ok {
		f.t.Fatalf("greeting: got %q, want an id", id)
	}
	c.id = id
	return c
}

func (c *shellClient) line() string {
	c.t.Helper()
	s, err := c.in.ReadString('\n')
	if err != nil {
		c.t.Fatalf("shell: got %q and error %v, want a line", s, err)
	}
	return strings.TrimSuffix(s, "\n")
}

// ask sends requests and compares the line that the last one answers.
func (c *shellClient) ask(want string, requests ...string) {
	c.t.Helper()
	if _, err := io.WriteString(c, strings.Join(requests, "\n")+"\n"); err != nil {
		c.t.Fatalf("shell: %v", err)
	}
	if got := c.line(); got != want {
		c.t.Fatalf("%q: got %q, want %q", requests, got, want)
	}
}

// resume attaches the connection to another session.
func (c *shellClient) resume(id string) {
	c.t.Helper()
	c.ask("Conexao restabelecida", "reconnect:"+id)
}

func makeDirs(t *testing.T, f *fleet, names ...string) {
	t.Helper()
	for _, n := range names {
		if err := os.Mkdir(filepath.Join(f.dir, n), 0o700); err != nil {
			t.Fatal(err)
		}
	}
}

// A session moves to the successor with what was answered in the predecessor after the hand-over,
// also if its connection there lives, and no session is lost by the end of the predecessor.
func TestSessionsMove(t *testing.T) {
	f, first := startFleet(t, shellConfig())
	addr := first.Addrs["shell"]
	makeDirs(t, f, "a", "b")
	detached := f.dialShell(addr)
	detached.ask("/a", "cd a", "pwd")
	detached.Close()
	attached, ended := f.dialShell(addr), f.dialShell(addr)
	attached.ask("/a", "cd a", "pwd")
	second := f.upgrade(first.PID)
	attached.ask("/b", "cd ../b", "pwd") // answered by the predecessor
	ended.ask("/b", "cd b", "pwd")

	c := f.dialShell(addr)
	c.resume(attached.id)
	c.ask("/b", "pwd")
	if got, want := attached.line(), "The session was taken over by a connection of another process."; got != want {
		t.Errorf("former connection: got %q, want %q", got, want)
	}
	if _, err := attached.in.ReadByte(); err != io.EOF {
		t.Errorf("former connection: got error %v, want EOF", err)
	}
	c = f.dialShell(addr)
	c.resume(detached.id)
	c.ask("/a", "pwd")

	f.signal(first.PID, syscall.SIGTERM)
	f.wait(first.PID, "exit")
	if _, err := io.Copy(io.Discard, ended.in); err != nil {
		t.Errorf("connection at the end of the predecessor: got %v, want EOF", err)
	}
	c = f.dialShell(addr)
	c.resume(ended.id)
	c.ask("/b", "pwd")

	f.signal(second.PID, syscall.SIGTERM)
	f.wait(second.PID, "exit")
	third := f.wait(f.start(), "serving") // from the file alone
	for id, want := range map[string]string{detached.id: "/a", attached.id: "/b", ended.id: "/b"} {
		c := f.dialShell(third.Addrs["shell"])
		c.resume(id)
		c.ask(want, "pwd")
	}
}

// Sessions move over two generations at once, and a process that was replaced waits for the
// sessions of its predecessor.
func TestSessionsMoveTwice(t *testing.T) {
	f, first := startFleet(t, shellConfig())
	addr := first.Addrs["shell"]
	makeDirs(t, f, "a", "b")
	claimed, drained := f.dialShell(addr), f.dialShell(addr)
	claimed.ask("/a", "cd a", "pwd")
	drained.ask("/a", "cd a", "pwd")
	second := f.upgrade(first.PID)
	third := f.upgrade(second.PID)
	claimed.ask("/b", "cd ../b", "pwd") // by the first process
	drained.ask("/b", "cd ../b", "pwd")

	c := f.dialShell(addr)
	c.resume(claimed.id)
	c.ask("/b", "pwd")

	f.signal(second.PID, syscall.SIGTERM)
	f.wait(second.PID, "stopping")
	drained.ask("/a", "cd ../a", "pwd")
	f.signal(first.PID, syscall.SIGTERM)
	f.wait(first.PID, "exit")
	f.wait(second.PID, "exit")
	c = f.dialShell(addr)
	c.resume(drained.id)
	c.ask("/a", "pwd")
	f.signal(third.PID, syscall.SIGTERM)
	f.wait(third.PID, "exit")
}

// A successor that fails after it has taken the sessions costs none.
func TestSessionsOfAFailedUpgrade(t *testing.T) {
	for _, mode := range []string{"listening exit 7", "listening crash", "adopted exit 0"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			c := shellConfig()
			f, first := startFleet(t, c)
			addr := first.Addrs["shell"]
			makeDirs(t, f, "a", "b")
			before := f.dialShell(addr)
			before.ask("/a", "cd a", "pwd")
			c.Mode = mode
			f.configure(c)
			f.failUpgrade(first.PID)
			before.ask("/b", "cd ../b", "pwd")
			after := f.dialShell(addr)
			after.ask("/a", "cd a", "pwd")
			after.Close()

			c.Mode = ""
			f.configure(c)
			f.upgrade(first.PID)
			for id, want := range map[string]string{before.id: "/b", after.id: "/a"} {
				c := f.dialShell(addr)
				c.resume(id)
				c.ask(want, "pwd")
			}
		})
	}
}

// Clients that create sessions during an upgrade wait for it, and are served.
func TestSessionsCreatedDuringAnUpgrade(t *testing.T) {
	c := shellConfig()
	f, first := startFleet(t, c)
	addr := first.Addrs["shell"]
	makeDirs(t, f, "a")
	c.Mode = "listening wait"
	f.configure(c)
	f.signal(first.PID, syscall.SIGUSR2)
	f.wait(0, "waiting")
	clients := make([]*shellClient, 20)
	for i := range clients {
		clients[i] = f.dialShell(addr)
		fmt.Fprintf(clients[i], "cd a\n")
	}
	f.goOn()
	f.wait(0, "serving")
	for _, old := range clients {
		old.ask("/a", "pwd")
		c := f.dialShell(addr)
		c.resume(old.id)
		c.ask("/a", "pwd")
	}
}

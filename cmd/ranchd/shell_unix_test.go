//go:build unix

package main

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// The dialogue of the original's README, by telnet; then again after the server was killed.
const dialogue = `
set timeout 20
proc say {line} { send "$line\r" }
proc hear {what} { expect -ex $what {} timeout { puts "\nMISSING: $what"; exit 1 } eof { puts "\nENDED BEFORE: $what"; exit 1 } }
spawn telnet 127.0.0.1 $env(PORT)
expect -re {Client identification (\d+)} { set id $expect_out(1,string) } timeout { puts "MISSING: id"; exit 1 }
say "pwd"; hear "/"
say "ls"; hear "sub/"
say "cd sub"; say "pwd"; hear "/sub"
say "set colour blue"
say "get colour"; hear "\nblue"
send "\x1d"; hear "telnet>"; send "quit\r"
expect eof
if {[info exists env(PID)]} { exec kill -9 $env(PID); exec sh -c $env(AGAIN); }
set env(PORT) [exec sh -c $env(NEWPORT)]
spawn telnet 127.0.0.1 $env(PORT)
hear "Client identification"
say "reconnect:$id"; hear "Conexao restabelecida"
say "pwd"; hear "/sub"
say "get colour"; hear "\nblue"
say "history"; hear "1  pwd"; hear "2  ls"; hear "3  cd sub"
say "reconnect:$id"; hear "Você ja esta conectado."
say "quit"
expect eof
`

func testDialogue(t *testing.T, bin string) {
	for _, tool := range []string{"expect", "telnet"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("the dialogue needs %s: apt-get install expect telnet", tool)
		}
	}
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	state, log := t.TempDir(), filepath.Join(t.TempDir(), "log")
	args := []string{"--quiet", "--log-format", "json", "--listen", "s=shell+tcp://127.0.0.1:0", "--shell-root", root, "--state", state}
	port := func(c *child) string {
		_, p, _ := net.SplitHostPort(c.log.addr(t, "s"))
		return p
	}
	say := func(env ...string) {
		t.Helper()
		cmd := exec.Command("expect", "-c", dialogue)
		cmd.Env = append(os.Environ(), env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	}
	c := spawn(t, bin, args...)
	say("PORT="+port(c), "NEWPORT=echo "+port(c))

	again := fmt.Sprintf("%s %s >/dev/null 2>%s & echo $! >%s.pid", bin, strings.Join(args, " "), log, log)
	find := fmt.Sprintf(`for i in $(seq 200); do p=$(sed -n 's/.*"listener":"s","addr":"127.0.0.1:\([0-9]*\)".*/\1/p' %s); [ -n "$p" ] && break; sleep 0.05; done; echo $p`, log)
	say("PORT="+port(c), "PID="+strconv.Itoa(c.cmd.Process.Pid), "AGAIN="+again, "NEWPORT="+find)
	if b, err := os.ReadFile(log + ".pid"); err == nil {
		exec.Command("kill", strings.TrimSpace(string(b))).Run()
	}
}

// Sessions whose identification was sent are there after a crash, however often that happens under load. The
// environment's CRASHES says how often; 100 takes some minutes.
func testCrashes(t *testing.T, bin string) {
	crashes := 5
	if n, err := strconv.Atoi(os.Getenv("CRASHES")); err == nil {
		crashes = n
	}
	args := []string{"--quiet", "--log-format", "json", "--listen", "s=shell+tcp://127.0.0.1:0", "--state", t.TempDir(),
		"--max-sessions", "unlimited", "--max-connections", "unlimited"}
	var ids []string
	for range crashes {
		c := spawn(t, bin, args...)
		addr := c.log.addr(t, "s")
		for range 20 { // of those that were there before, some
			if len(ids) > 0 {
				resumed(t, addr, ids[rand.IntN(len(ids))])
			}
		}
		var mu sync.Mutex
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				for {
					id, err := identified(addr)
					if err != nil {
						return
					}
					mu.Lock()
					ids = append(ids, id)
					mu.Unlock()
				}
			})
		}
		time.Sleep(time.Duration(20+rand.IntN(200)) * time.Millisecond)
		c.cmd.Process.Kill()
		<-c.gone
		wg.Wait()
	}
	c := spawn(t, bin, args...)
	addr := c.log.addr(t, "s")
	for _, id := range ids[max(0, len(ids)-2000):] {
		resumed(t, addr, id)
	}
	t.Logf("%d crashes, %d sessions acknowledged", crashes, len(ids))
}

var identification = regexp.MustCompile(`^Client identification (\d+)\n$`)

// identified opens a session, and leaves it by closing the connection.
func identified(addr string) (id string, err error) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(patience))
	line, err := bufio.NewReader(nc).ReadString('\n')
	if err != nil {
		return "", err
	}
	if m := identification.FindStringSubmatch(line); m != nil {
		return m[1], nil
	}
	return "", fmt.Errorf("%q", line)
}

func resumed(t *testing.T, addr, id string) {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(nc, "reconnect:%s\n", id)
	r := bufio.NewReader(nc)
	r.ReadString('\n')
	if line, err := r.ReadString('\n'); line != "Conexao restabelecida\n" {
		rest, _ := io.ReadAll(io.LimitReader(r, 200))
		t.Fatalf("session %s: %q, %v %s", id, line, err, rest)
	}
}

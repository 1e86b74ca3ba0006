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

// dialogue is the session in the README of the original server, by telnet. It then resumes the
// session, after the server was killed if PID is set.
const dialogue = `
set timeout 60
proc request {line} { send "$line\r" }
proc want {what} { expect -ex $what {} timeout { puts "\nTIMEOUT, WANT: $what"; exit 1 } eof { puts "\nEOF, WANT: $what"; exit 1 } }
spawn telnet 127.0.0.1 $env(PORT)
expect -re {Client identification (\d+)} { set id $expect_out(1,string) } timeout { puts "TIMEOUT, WANT: id"; exit 1 }
request "pwd"; want "/"
request "ls"; want "sub/"
request "cd sub"; request "pwd"; want "/sub"
request "set colour blue"
request "get colour"; want "\nblue"
send "\x1d"; want "telnet>"; send "quit\r"
expect eof
if {[info exists env(PID)]} { exec kill -9 $env(PID); exec sh -c $env(RESTART); }
set env(PORT) [exec sh -c $env(NEWPORT)]
spawn telnet 127.0.0.1 $env(PORT)
want "Client identification"
request "reconnect:$id"; want "Conexao restabelecida"
request "pwd"; want "/sub"
request "get colour"; want "\nblue"
request "history"; want "1  pwd"; want "2  ls"; want "3  cd sub"
request "reconnect:$id"; want "Você ja esta conectado."
request "quit"
expect eof
`

func testDialogue(t *testing.T, bin string) {
	requireProgram(t, "expect", "expect")
	requireProgram(t, "telnet", "telnet")
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	state, log := t.TempDir(), filepath.Join(t.TempDir(), "log")
	args := []string{"--quiet", "--log-format", "json", "--listen", "s=shell+tcp://127.0.0.1:0", "--shell-root", root, "--state", state}
	p := startProcess(t, bin, args...)
	_, port, _ := net.SplitHostPort(p.log.addr(t, "s"))
	runDialogue := func(env ...string) {
		t.Helper()
		cmd := exec.Command("expect", "-c", dialogue)
		cmd.Env = append(os.Environ(), env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("expect: got %v, want nil\n%s", err, out)
		}
	}
	runDialogue("PORT="+port, "NEWPORT=echo "+port)

	restart := fmt.Sprintf("%s %s >/dev/null 2>%s & echo $! >%s.pid", bin, strings.Join(args, " "), log, log)
	newPort := fmt.Sprintf(`for i in $(seq 200); do p=$(sed -n 's/.*"listener":"s","addr":"127.0.0.1:\([0-9]*\)".*/\1/p' %s); [ -n "$p" ] && break; sleep 0.05; done; echo $p`, log)
	runDialogue("PORT="+port, "PID="+strconv.Itoa(p.cmd.Process.Pid), "RESTART="+restart, "NEWPORT="+newPort)
	if b, err := os.ReadFile(log + ".pid"); err == nil {
		exec.Command("kill", strings.TrimSpace(string(b))).Run()
	}
}

// A session whose first answer was sent to the client survives crashes under load. The environment
// variable CRASHES is the number of crashes; 100 take some minutes.
func testCrashes(t *testing.T, bin string) {
	crashes := 5
	if n, err := strconv.Atoi(os.Getenv("CRASHES")); err == nil {
		crashes = n
	}
	args := []string{"--quiet", "--log-format", "json", "--listen", "s=shell+tcp://127.0.0.1:0", "--state", t.TempDir(),
		"--max-sessions", "unlimited", "--max-sessions-per-address", "unlimited", "--max-connections", "unlimited"}
	var ids []string
	for range crashes {
		p := startProcess(t, bin, args...)
		addr := p.log.addr(t, "s")
		for range 20 { // a sample of the earlier sessions
			if len(ids) > 0 {
				resumeSession(t, addr, ids[rand.IntN(len(ids))])
			}
		}
		var mu sync.Mutex
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				for {
					id, err := newSession(addr)
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
		p.cmd.Process.Kill()
		<-p.done
		wg.Wait()
	}
	p := startProcess(t, bin, args...)
	addr := p.log.addr(t, "s")
	for _, id := range ids[max(0, len(ids)-2000):] {
		resumeSession(t, addr, id)
	}
	t.Logf("%d crashes, %d sessions", crashes, len(ids))
}

var identification = regexp.MustCompile(`^Client identification (\d+)\n$`)

// newSession starts a session, sends one request, closes the connection and returns the id of the
// session.
func newSession(addr string) (id string, err error) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(timeout))
	r := bufio.NewReader(nc)
	line, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	m := identification.FindStringSubmatch(line)
	if m == nil {
		return "", fmt.Errorf("got %q, want a session id", line)
	}
	io.WriteString(nc, "pwd\n") // sessions without a request are not kept
	_, err = r.ReadString('\n')
	return m[1], err
}

func resumeSession(t *testing.T, addr, id string) {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(timeout))
	fmt.Fprintf(nc, "reconnect:%s\n", id)
	r := bufio.NewReader(nc)
	r.ReadString('\n')
	if line, err := r.ReadString('\n'); line != "Conexao restabelecida\n" {
		rest, _ := io.ReadAll(io.LimitReader(r, 200))
		t.Fatalf("resume session %s: got %q, then %q and error %v, want Conexao restabelecida", id, line, rest, err)
	}
}

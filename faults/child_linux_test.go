package faults_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goranch/faults"
	"goranch/protocol"
	"goranch/ranch"
	"goranch/ranch/accesslog"
	"goranch/transport"
)

func init() { childProcesses["server"] = serveWithLimits }

// The variables of the environment of the child process.
const (
	limitsEnv  = "GORANCH_FAULTS_LIMITS" // descriptors, bytes of a file, bytes of memory; 0 is no limit
	logPathEnv = "GORANCH_FAULTS_LOG"
)

// childResult is what the child reports when it has stopped.
type childResult struct {
	Accepted, Terminated, Reasons, AcceptErrors uint64
	Live, Active                                int
	Ended, Lines                                uint64 // events of ends, lines of the access log written and lost
	StopError                                   string
}

// serveWithLimits runs in the child process: an echo server with an access log, until SIGTERM. What
// a client asks for is sent to all others, whether they read or not.
func serveWithLimits() {
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	log, err := accesslog.Open(os.Getenv(logPathEnv), accesslog.Options{Logger: discard})
	exitOn(err)
	var group protocol.Group
	var mu sync.Mutex
	var ended uint64
	l, err := ranch.StartListener("child", transport.TCP{}, ranch.Options{
		Addr: "127.0.0.1:0", MaxConnections: ranch.Unlimited, ShutdownTimeout: 50 * time.Millisecond, Logger: discard,
		Observer: func(e ranch.Event) {
			log.Observe(e)
			if e.Kind == ranch.ConnEnded {
				mu.Lock()
				ended++
				mu.Unlock()
			}
		},
		PostListen: func(net.Listener) error { return setLimits() },
	}, protocol.Handle(func() protocol.Handler { return &floodHandler{group: &group} }, protocol.Options{MaxQueued: 32 << 20}))
	exitOn(err)
	fmt.Println(l.Addr())
	<-term
	stopErr := l.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	log.Close(ctx)
	i, st := l.Info(), log.Stats()
	r := childResult{
		Accepted: i.Accepted, Terminated: i.Terminated, AcceptErrors: i.AcceptErrors, Live: i.AllConnections, Active: i.ActiveConnections,
		Ended: ended, Lines: st.Lines + st.Dropped,
	}
	for _, n := range i.Reasons {
		r.Reasons += n
	}
	if stopErr != nil {
		r.StopError = stopErr.Error()
	}
	exitOn(json.NewEncoder(os.Stdout).Encode(r))
	os.Exit(0)
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// floodHandler echoes. After "flood" it sends 64 KiB to all connections, 2,000 times.
type floodHandler struct{ group *protocol.Group }

func (h *floodHandler) HandleConnect(p *protocol.Peer) protocol.Action {
	h.group.Join(p)
	return protocol.Continue()
}

func (h *floodHandler) HandleData(p *protocol.Peer, frame []byte) protocol.Action {
	if string(frame) != "flood" {
		p.Send(frame)
		return protocol.Continue()
	}
	h.group.Leave(p)
	for range 2000 {
		h.group.Broadcast(make([]byte, 64<<10), nil)
	}
	p.Send([]byte("done"))
	return protocol.Continue()
}

// setLimits sets the limits of limitsEnv on top of what the process uses now.
func setLimits() error {
	limits := strings.Fields(os.Getenv(limitsEnv))
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return err
	}
	pages, err := strconv.Atoi(strings.Fields(string(statm))[0])
	if err != nil {
		return err
	}
	used := []int{len(open) - 1, 0, pages * os.Getpagesize()}
	for i, resource := range []int{unix.RLIMIT_NOFILE, unix.RLIMIT_FSIZE, unix.RLIMIT_AS} {
		n, err := strconv.Atoi(limits[i])
		if err != nil {
			return err
		}
		if n == 0 {
			continue
		}
		var limit unix.Rlimit
		if err := unix.Getrlimit(resource, &limit); err != nil {
			return err
		}
		limit.Cur = uint64(used[i] + n)
		if err := unix.Setrlimit(resource, &limit); err != nil {
			return err
		}
	}
	return nil
}

// A server that runs out of descriptors, of space for its access log or of both, that is stopped
// and continued, or whose clients do not read, serves on, stops in order and has counted
// everything.
func TestExhaustion(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		name, limits, log string
		clients           int
		flood             bool
	}{
		{"descriptors", "20 0 0", filepath.Join(dir, "fd"), 60, false},
		{"file size", "0 500 0", filepath.Join(dir, "size"), 30, false},
		{"disk and descriptors", "10 0 0", "/dev/full", 30, false},
		{"memory", "0 0 1000000000", filepath.Join(dir, "memory"), 40, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := startServer(t, c.limits, c.log)
			for round := range 2 {
				p.use(t, c.clients, faults.NewSource(uint64(round+1)), c.flood && round == 0)
			}
			r := p.stop(t)
			if r.StopError != "" || r.Live != 0 || r.Active != 0 || r.Accepted != r.Terminated || r.Reasons != r.Terminated || r.Ended != r.Terminated {
				t.Errorf("got %+v, want all connections ended, for a reason, and reported", r)
			}
			if r.Accepted < uint64(2*c.clients) {
				t.Errorf("got %d accepted, want at least %d", r.Accepted, 2*c.clients)
			}
			if r.Lines > r.Ended || c.log != "/dev/full" && r.Lines == 0 {
				t.Errorf("access log: got %d lines written or dropped of %d ends", r.Lines, r.Ended)
			}
		})
	}
}

// serverProcess is the child process.
type serverProcess struct {
	cmd  *exec.Cmd
	out  *bytes.Buffer
	addr string
	done chan error
}

func startServer(t *testing.T, limits, log string) *serverProcess {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"=server", limitsEnv+"="+limits, logPathEnv+"="+log)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &serverProcess{cmd: cmd, out: new(bytes.Buffer), done: make(chan error, 1)}
	line := make([]byte, 64)
	n, err := out.Read(line)
	if err != nil {
		t.Fatalf("the child: got %v, want its address", err)
	}
	p.addr = strings.TrimSpace(string(line[:n]))
	go func() {
		io.Copy(p.out, out)
		p.done <- cmd.Wait()
	}()
	return p
}

// use connects clients at once, stops and continues the process, and waits until each client was
// served.
func (p *serverProcess) use(t *testing.T, clients int, src *faults.Source, flood bool) {
	conns := make([]net.Conn, clients)
	for i := range conns {
		nc, err := net.Dial("tcp", p.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		nc.SetDeadline(time.Now().Add(30 * time.Second))
		conns[i] = nc
	}
	if flood {
		exchange(t, conns[0], "flood", "done")
	}
	p.cmd.Process.Signal(syscall.SIGSTOP)
	time.Sleep(src.Between(0, 20*time.Millisecond))
	p.cmd.Process.Signal(syscall.SIGCONT)
	p.cmd.Process.Signal(syscall.SIGPIPE)
	p.cmd.Process.Signal(syscall.SIGURG)
	if flood {
		return
	}
	for _, nc := range conns { // each that ends lets another one in
		exchange(t, nc, "hello", "hello")
		if src.Chance(0.5) {
			nc.(*net.TCPConn).SetLinger(0)
		}
		nc.Close()
	}
}

func exchange(t *testing.T, nc net.Conn, send, want string) {
	got := make([]byte, len(want))
	_, err := io.WriteString(nc, send)
	if err == nil {
		_, err = io.ReadFull(nc, got)
	}
	if string(got) != want {
		t.Errorf("client: got %q, %v, want %q", got, err, want)
	}
}

func (p *serverProcess) stop(t *testing.T) (r childResult) {
	p.cmd.Process.Signal(syscall.SIGTERM)
	if err := <-p.done; err != nil {
		t.Errorf("the child: got %v, want exit code 0", err)
	}
	if err := json.Unmarshal(p.out.Bytes(), &r); err != nil {
		t.Errorf("the child: got %q (%v), want its counters", p.out, err)
	}
	return r
}

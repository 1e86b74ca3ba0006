//go:build unix

package upgrade_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"goranch/protocol"
	"goranch/protocol/session"
	"goranch/protocol/session/boltstore"
	"goranch/protocol/shell"
	"goranch/ranch"
	"goranch/ranch/upgrade"
	"goranch/transport"
)

// childConfig is the file config.json in the directory of a child. It is read by each process at
// its start, so a test can change it for the successor.
type childConfig struct {
	Listeners    []childListener
	State        bool // keep shell sessions in the directory
	Timeout      time.Duration
	Limit        time.Duration
	Program      string
	MaxProcesses int
	Drain        time.Duration // how long a replaced process lets its connections continue
	Mode         string        // how a successor misbehaves
}

type childListener struct {
	Ref, Addr string
	Sockets   int
	Shell     bool
}

// report is one line of output of a child.
type report struct {
	PID, Generation, Predecessor int
	Event, Text                  string
	Addrs                        map[string]string
	Sockets                      []listening
}

type server struct {
	config childConfig
	dir    string
	u      *upgrade.Upgrader
	ranch  ranch.Server
	shell  *shell.Shell
	outMu  sync.Mutex

	upgrades sync.WaitGroup
}

func (s *server) report(event, text string) {
	r := report{PID: os.Getpid(), Event: event, Text: text, Addrs: map[string]string{}}
	if s.u != nil {
		r.Generation, r.Predecessor = upgrade.Generation(s.u), s.u.Predecessor()
	}
	for _, l := range s.ranch.Listeners() {
		r.Addrs[l.Ref()] = l.Addr().String()
	}
	if event == "inspected" {
		r.Sockets = listeningSockets()
	}
	s.outMu.Lock()
	defer s.outMu.Unlock()
	b, _ := json.Marshal(r)
	os.Stdout.Write(append(b, '\n')) // one write: processes share the pipe
}

func init() { child = runChild }

// runChild is the process of a server.
func runChild(dir string) int {
	s := &server{dir: dir}
	b, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil || json.Unmarshal(b, &s.config) != nil {
		fmt.Fprintln(os.Stderr, "config.json:", err)
		return 2
	}
	usr1, usr2, term := make(chan os.Signal, 8), make(chan os.Signal, 8), make(chan os.Signal, 8)
	signal.Notify(usr1, syscall.SIGUSR1)
	go func() {
		for range usr1 {
			s.report("inspected", "")
		}
	}()
	signal.Notify(usr2, syscall.SIGUSR2)
	signal.Notify(term, syscall.SIGTERM)
	if code, done := s.misbehave("start"); done {
		return code
	}
	c := s.config
	s.u, err = upgrade.New(upgrade.Options{
		Timeout: c.Timeout, Limit: c.Limit, MaxProcesses: c.MaxProcesses, Program: c.Program, Logger: slog.New(slog.DiscardHandler),
		HandOver: func(pid int) { s.report("hand over", fmt.Sprint(pid)) },
	})
	if err != nil {
		s.report("failed to start", err.Error())
		return 1
	}
	if code, done := s.misbehave("adopted"); done {
		return code
	}
	if err := s.start(); err != nil {
		s.u.Fail(err)
		s.report("failed to start", err.Error())
		return 1
	}
	if code, done := s.misbehave("listening"); done {
		return code
	}
	upgrade.BeforeServing(func() { s.misbehave("ready") })
	if err := s.u.Ready(context.Background()); err != nil {
		s.report("failed to start", err.Error())
		return 1
	}
	s.report("serving", "")
	return s.serve(usr2, term)
}

// misbehave ends or stops a successor at a stage of its start.
func (s *server) misbehave(stage string) (code int, done bool) {
	what, ok := strings.CutPrefix(s.config.Mode, stage+" ")
	_, successor := os.LookupEnv("RANCH_UPGRADE_FD")
	if !ok || !(successor || s.u != nil && s.u.Predecessor() != 0) {
		return 0, false
	}
	switch what {
	case "exit 0":
		return 0, true
	case "exit 7":
		return 7, true
	case "crash":
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "hang":
		time.Sleep(time.Hour)
	case "wait": // until the test says go on
		s.report("waiting", "")
		for {
			if _, err := os.Stat(filepath.Join(s.dir, "go")); err == nil {
				return 0, false
			}
			time.Sleep(time.Millisecond)
		}
	case "garbage":
		f := os.NewFile(3, "control")
		f.WriteString(strings.Repeat("garbage ", 10))
		time.Sleep(time.Hour)
	case "old": // a version that knows nothing of upgrades
		os.Unsetenv("RANCH_UPGRADE_FD")
		return 0, false
	}
	return 0, false
}

func (s *server) start() error {
	echo := protocol.Func(func(_ context.Context, c *transport.Conn) error {
		_, err := io.Copy(c, c)
		return err
	})
	for _, cl := range s.config.Listeners {
		var p protocol.Protocol = echo
		if cl.Shell {
			if err := s.openShell(); err != nil {
				return err
			}
			p = s.shell
		}
		opts := ranch.Options{Addr: cl.Addr, NumListenSockets: cl.Sockets, MaxConnections: ranch.Unlimited, ShutdownTimeout: 5 * time.Second, Logger: slog.New(slog.DiscardHandler)}
		if _, err := s.ranch.StartListener(cl.Ref, s.u.Transport(cl.Ref, transport.TCP{}), opts, p); err != nil {
			return err
		}
	}
	return nil
}

func (s *server) openShell() error {
	if s.shell != nil {
		return nil
	}
	var store session.Store
	var err error
	if s.config.State {
		if store, err = s.u.Store("shell", func() (session.Store, error) { return boltstore.Open(filepath.Join(s.dir, "shell.db")) }); err != nil {
			return err
		}
	}
	s.shell, err = shell.New(shell.Options{Root: s.dir, Sessions: session.Options[shell.State]{Store: store}})
	return err
}

func (s *server) serve(usr2 <-chan os.Signal, term chan os.Signal) int {
	handed, ctx := s.u.HandedOver(), context.Background()
	code := 0
	for drain := false; !drain; {
		select {
		case <-usr2:
			s.upgrades.Go(func() { s.upgrade(ctx) })
		case <-handed:
			s.report("replaced", "")
			handed = nil
			time.AfterFunc(s.config.Drain, func() { term <- syscall.SIGTERM })
		case <-term:
			s.u.Stop()
			drain = true
			s.report("stopping", "")
		}
	}
	limit, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := s.ranch.Drain(limit); err != nil {
		s.report("drain failed", err.Error())
		code = 3
	}
	if s.shell != nil {
		if err := errors.Join(s.u.WaitPredecessor(limit), s.shell.Close(limit)); err != nil {
			s.report("close failed", err.Error())
			code = 4
		}
	}
	s.upgrades.Wait() // they report their results
	s.report("exit", "")
	return code
}

func (s *server) upgrade(ctx context.Context) {
	r, err := s.u.Upgrade(ctx, func(text string) { s.report("progress", text) })
	if err != nil {
		s.report("upgrade failed", err.Error())
		return
	}
	s.report("upgraded", fmt.Sprintf("%d sockets, closed %v", r.Sockets, r.Closed))
}

// listening is a descriptor of a listening socket of a process.
type listening struct {
	Addr     string
	Blocking bool
	Backlog  int  // TCP only
	Inherits bool // programs that the process starts get it
}

// listeningSockets returns all listening sockets among the descriptors of this process.
func listeningSockets() (all []listening) {
	names, _ := os.ReadDir("/dev/fd")
	for _, n := range names {
		fd, err := strconv.Atoi(n.Name())
		if err != nil {
			continue
		}
		if on, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || on == 0 {
			continue
		}
		l := listening{Backlog: maxBacklog(fd)}
		switch sa, _ := unix.Getsockname(fd); sa := sa.(type) {
		case *unix.SockaddrInet4:
			l.Addr = fmt.Sprintf("127.0.0.1:%d", sa.Port)
		case *unix.SockaddrUnix:
			l.Addr = sa.Name
		}
		flags, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		l.Blocking = flags&unix.O_NONBLOCK == 0
		flags, _ = unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		l.Inherits = flags&unix.FD_CLOEXEC == 0
		all = append(all, l)
	}
	return all
}

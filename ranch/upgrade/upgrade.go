// Package upgrade replaces a running program by a new one without refusing a connection: the
// running process, the predecessor, starts the new program and hands it the listening sockets.
//
//	u, err := upgrade.New(upgrade.Options{})
//	…
//	l, err := ranch.StartListener("echo", u.Transport("echo", transport.TCP{}), ranch.Options{Addr: ":7"}, p)
//	…
//	err = u.Ready(ctx) // begins to accept
//	…
//	select {
//	case <-usr2: // a signal
//		go u.Upgrade(ctx, nil)
//	case <-u.HandedOver(): // the successor serves
//		ranch.Drain(limit)
//	}
//
// The successor runs the same code: there, New receives the sockets, and Listen of a
// [Upgrader.Transport] returns the one that the predecessor had for the same name and address.
// Ready reports to the predecessor that the successor is complete. Only then the predecessor stops
// accepting; connections that arrive meanwhile wait in the kernel's queue, which both share. Its
// live connections stay with it until they end or are drained.
//
// A successor that fails, exits, hangs or does not speak this package's protocol is ended after
// Options.Timeout at the latest, and the predecessor continues to serve: sockets, socket files and
// stores are still its own. A predecessor that has handed over is ended after Options.Limit.
//
// What only one process can have open, such as a file with sessions, is handed over by
// [Upgrader.Store].
//
// The package needs a Unix system. On others Upgrade returns errors.ErrUnsupported, and everything
// else works without a predecessor.
package upgrade

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"goranch/internal/option"
)

var (
	// ErrInProgress is wrapped by the error of Upgrade while another upgrade runs.
	ErrInProgress = errors.New("an upgrade is in progress")
	// ErrNotServing is wrapped by the error of Upgrade before Ready, after Stop, and after the
	// sockets were handed over.
	ErrNotServing = errors.New("the process is not serving")
	// ErrTooMany is wrapped by the error of Upgrade when Options.MaxProcesses processes run.
	ErrTooMany = errors.New("too many processes of earlier upgrades are still running")
	// ErrPredecessor is wrapped by the error of Ready when the predecessor has given up or has
	// ended.
	ErrPredecessor = errors.New("the predecessor has ended the upgrade")
)

// variable is the environment variable with the descriptor of the control connection.
const variable = "RANCH_UPGRADE_FD"

// Options are the settings of an [Upgrader]. The zero value of each field is its default.
type Options struct {
	// Program is the path of the program that Upgrade starts. "" is that with which this process
	// was started: as it was called, so that a symbolic link is followed again.
	Program string
	// Args are its arguments without the name of the program. nil are those of this process.
	Args []string
	// Timeout limits an upgrade, from its start until the successor serves. 0 is 30 s; negative
	// values are refused.
	Timeout time.Duration
	// Limit is the time after which a process that has handed over its sockets is ended by os.Exit
	// with code 1, whatever it does then. 0 is one hour; negative values are refused: without a
	// limit processes could pile up.
	Limit time.Duration
	// MaxProcesses is how many processes may run at once: this one, those of earlier upgrades that
	// still have connections, and the successor. 0 is 5; allowed are 2 to 100.
	MaxProcesses int
	// HandOver is called with the process id of the successor when it serves, before Ready returns
	// there. It can notify a service manager which process to supervise. nil is nothing.
	HandOver func(pid int)
	// Logger logs what no call returns, such as a store that cannot be opened again. nil is
	// slog.Default().
	Logger *slog.Logger
}

func (o Options) withDefaults() (Options, error) {
	var f option.Faults
	if o.Timeout < 0 {
		f.Bad("Timeout", o.Timeout, "positive durations, and 0 for 30s")
	}
	if o.Limit < 0 {
		f.Bad("Limit", o.Limit, "positive durations, and 0 for 1h")
	}
	if o.MaxProcesses != 0 && (o.MaxProcesses < 2 || o.MaxProcesses > maxProcesses) {
		f.Bad("MaxProcesses", o.MaxProcesses, fmt.Sprintf("2 to %d, and 0 for 5", maxProcesses))
	}
	option.Default(&o.Timeout, 30*time.Second)
	option.Default(&o.Limit, time.Hour)
	option.Default(&o.MaxProcesses, 5)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Program == "" {
		o.Program = started.path
	}
	if o.Args == nil && len(os.Args) > 0 {
		o.Args = os.Args[1:]
	}
	return o, f.Err()
}

// state is the state of an Upgrader.
type state int

const (
	starting state = iota
	serving
	upgrading
	handedOver
	stopped
)

var stateNames = map[state]string{starting: "starting", serving: "serving", upgrading: "upgrading", handedOver: "replaced by its successor", stopped: "stopping"}

// Upgrader hands the sockets of this process to a successor, and receives those of a predecessor. A
// process has one. Its methods may be called from any goroutine.
type Upgrader struct {
	opts        Options
	predecessor *predecessor // nil: there was none
	generation  int
	sockets     sockets
	stores      stores
	handed      chan struct{} // closed by the hand-over

	mu        sync.Mutex
	state     state
	exitPipe  int       // the reading end of this process's pipe; -1: none yet
	processes []process // of earlier generations that may still run
	abort     context.CancelCauseFunc
	attempt   chan struct{} // closed at the end of the running upgrade
}

// New returns the Upgrader of this process. In a successor it receives the sockets; its error says
// why that failed, and the process should exit. It must be called once, before any Listen.
func New(opts Options) (*Upgrader, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("upgrade: %w", err)
	}
	u := &Upgrader{opts: opts, generation: 1, exitPipe: -1, handed: make(chan struct{})}
	value, ok := os.LookupEnv(variable)
	if !ok {
		return u, nil
	}
	os.Unsetenv(variable) // it is not for programs that this process starts
	if err := u.adopt(value); err != nil {
		return nil, fmt.Errorf("upgrade: %w", err)
	}
	return u, nil
}

// Predecessor returns the process id of the predecessor; 0 if there is none.
func (u *Upgrader) Predecessor() int {
	if u.predecessor == nil {
		return 0
	}
	return u.predecessor.pid
}

// HandedOver returns a channel that is closed when the sockets belong to a successor that serves.
// The program then drains its connections and exits; its listeners accept nothing more.
func (u *Upgrader) HandedOver() <-chan struct{} { return u.handed }

// Stop ends a running upgrade, unless its hand-over has begun, and refuses later ones. It returns
// when no upgrade runs. A program calls it before it drains.
func (u *Upgrader) Stop() {
	u.mu.Lock()
	attempt := u.attempt
	if u.state == upgrading {
		u.abort(fmt.Errorf("%w: it stops", ErrNotServing))
	} else if u.state != handedOver {
		u.state = stopped
	}
	u.mu.Unlock()
	if attempt == nil {
		return
	}
	<-attempt
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.state != handedOver {
		u.state = stopped
	}
}

// running returns the processes of earlier generations that run, and forgets the others. u.mu is
// held.
func (u *Upgrader) running() []process {
	u.processes = slices.DeleteFunc(u.processes, func(p process) bool {
		if hasEnded(p.fd) {
			closeFD(p.fd)
			return true
		}
		return false
	})
	return u.processes
}

// exit ends the process at Options.Limit.
var exit = os.Exit

// exitAfterLimit ends the process after Options.Limit.
func (u *Upgrader) exitAfterLimit() {
	time.AfterFunc(u.opts.Limit, func() {
		u.opts.Logger.Error("exiting: the limit after the hand-over has passed", "limit", u.opts.Limit)
		exit(1)
	})
}

// writeLimited calls write with a deadline for c that is the end of ctx.
func writeLimited(ctx context.Context, c *net.UnixConn, write func() error) error {
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	err := write()
	if !stop() {
		return context.Cause(ctx)
	}
	return err
}

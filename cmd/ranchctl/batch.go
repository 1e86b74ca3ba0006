package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"goranch/internal/console"
)

// patience is how long a server may be gone, with --keep-going.
const patience = 15 * time.Second

// job carries out commands that nobody types.
type job struct {
	flags      *flags
	client     *console.Client
	screen     *console.Screen
	interrupts <-chan os.Signal
	keyboard   chan os.Signal // interrupts from a terminal in raw mode
}

// batch carries out the command of the command line, or those of stdin.
func batch(ctx context.Context, f *flags, srv *server, s streams, interrupts <-chan os.Signal) int {
	j := &job{flags: f, interrupts: interrupts, keyboard: make(chan os.Signal, 2)}
	size := sizeOf(s.out)
	j.screen = &console.Screen{Out: s.out, Notices: s.err, Size: size, JSON: f.Output == "json", Color: console.WantsColor(size != nil)}
	if j.screen.JSON {
		j.screen.Streams = s.err // results are all that there is on stdout
	}
	if fd, ok := terminal(s.in); ok && size != nil {
		restore := j.watchKeys(fd, s.in)
		defer func() { (*restore)() }()
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	client, err := j.connect(ctx, cancel, srv)
	if err != nil {
		fmt.Fprintf(s.err, "ranchctl: %s: %v\n", srv.addr, err)
		return connectCode(err)
	}
	j.client = client
	defer j.quit()
	if len(f.Command) > 0 {
		return j.one(ctx, console.Line(f.Command), "")
	}
	return j.all(ctx, s.in)
}

// connect can be interrupted.
func (j *job) connect(ctx context.Context, cancel context.CancelFunc, srv *server) (*console.Client, error) {
	connected := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-j.interrupts:
			cancel()
		case <-connected:
		}
	}()
	defer func() {
		close(connected)
		<-watched
	}()
	return console.Connect(ctx, console.ClientOptions{Dial: srv.dial, Token: srv.token, ConnectTimeout: j.flags.ConnectTimeout,
		Show: j.screen, Reconnect: j.flags.KeepGoing, GiveUp: patience})
}

// watchKeys makes the terminal raw when the first frame is drawn, so that q is seen.
func (j *job) watchKeys(fd int, in io.Reader) (restore *func()) {
	undo := func() {}
	j.screen.FirstFrame = func() {
		before, err := term.MakeRaw(fd)
		if err != nil {
			return // then Ctrl-C ends it
		}
		undo = func() { term.Restore(fd, before) }
		keys := &console.Keys{Drawing: func() bool { return true }, Interrupt: func() bool {
			select {
			case j.keyboard <- os.Interrupt:
			default:
			}
			return true
		}}
		go keys.Watch(in)
		j.screen.FirstFrame = nil
	}
	return &undo
}

// quit ends the session. One that no answer comes from need not be waited for.
func (j *job) quit() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	j.client.Quit(ctx)
}

// all carries out the commands of a stream, each on a line.
func (j *job) all(ctx context.Context, in io.Reader) int {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	code := exitInOrder
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		got := j.one(ctx, line, fmt.Sprintf("line %d: ", n))
		if code == exitInOrder {
			code = got
		}
		if got != exitInOrder && (!j.flags.KeepGoing || got == exitInterrupted || j.client.Err() != nil) {
			return code
		}
	}
	if err := lines.Err(); err != nil {
		j.screen.Error(fmt.Errorf("reading commands: %w", err))
		return max(code, exitFailed)
	}
	return code
}

// one carries out a command and shows what came of it. where is put before an error.
func (j *job) one(ctx context.Context, line, where string) int {
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	if name, _, _ := strings.Cut(strings.ReplaceAll(line, ":", " "), " "); name == "format" || name == "reconnect" {
		j.screen.Error(fmt.Errorf("%s%s is the client's own; see -o", where, name))
		return exitUsage
	}
	if j.flags.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, j.flags.Timeout, errTimeout)
		defer cancel()
	}
	finished, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		j.watch(finished, giveUp)
	}()
	answer, err := j.client.Do(ctx, line)
	close(finished)
	<-watched
	framed := j.screen.EndFrames()
	var remote *console.RemoteError
	switch {
	case framed && errors.As(err, &remote) && remote.Code == console.CodeCancelled: // as somebody wished who has seen enough
		return exitInOrder
	case err != nil:
		j.screen.Error(fmt.Errorf("%s%w", where, err))
	case !framed || answer.Result != nil:
		j.screen.Answer(answer)
	}
	return exitCode(err)
}

// watch passes interrupts on: the first cancels the command, the second does not wait
// for its answer.
func (j *job) watch(finished <-chan struct{}, giveUp context.CancelCauseFunc) {
	for n := 0; ; n++ {
		select {
		case <-j.interrupts:
		case <-j.keyboard:
		case <-finished:
			return
		}
		if n == 0 {
			j.client.Cancel()
		} else {
			giveUp(errInterrupted)
		}
	}
}

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
	"goranch/protocol/shell"
	"goranch/protocol/shell/client"
)

const (
	maxOutage   = 15 * time.Second // with --keep-going, ranchctl reconnects for this long
	quitTimeout = time.Second      // for the end of the session
)

// job runs commands without a prompt.
type job struct {
	flags      *flags
	client     *client.Client
	screen     *console.Screen
	interrupts <-chan os.Signal
	keyboard   chan os.Signal // interrupts from a terminal in raw mode
	restore    func()         // ends the raw mode
}

// batch runs the command of the command line, or those of stdin.
func batch(ctx context.Context, f *flags, srv *server, s streams, interrupts <-chan os.Signal) int {
	j := &job{flags: f, interrupts: interrupts, keyboard: make(chan os.Signal, 2), restore: func() {}}
	size := sizeOf(s.out)
	j.screen = &console.Screen{
		Out: s.out, Notices: s.err, Size: size, JSON: f.Output == "json", Color: console.WantsColor(size != nil),
	}
	if j.screen.JSON {
		j.screen.Streams = s.err // only results go to stdout
	}
	if fd, ok := terminal(s.in); ok && size != nil {
		undo := j.watchKeys(fd, s.in)
		j.restore = func() { (*undo)() }
		defer j.restore()
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if err := j.connect(ctx, cancel, srv.client); err != nil {
		printConnectError(s.err, err)
		return connectCode(err)
	}
	defer j.quit()
	if len(f.Command) > 0 {
		return j.one(ctx, commandLine(f.Command), "")
	}
	return j.all(ctx, s.in)
}

// commandLine joins the words of a command. Words are quoted, except for those of "name:value",
// which is sent as it is.
func commandLine(words []string) string {
	if strings.Contains(words[0], ":") {
		return strings.Join(words, " ")
	}
	return client.Line(words[0], words[1:]...)
}

// connect dials the server. An interrupt cancels it.
func (j *job) connect(ctx context.Context, cancel context.CancelCauseFunc, opts client.Options) (err error) {
	connected, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-j.interrupts:
			cancel(nil)
		case <-connected:
		}
	}()
	defer func() {
		close(connected)
		<-watched
	}()
	j.screen.SetCallbacks(&opts)
	opts.NoReconnect = !j.flags.KeepGoing
	limitOutage(&opts, cancel)
	j.client, err = client.Dial(ctx, opts)
	return err
}

// limitOutage calls cancel when the client has failed to reconnect for maxOutage.
func limitOutage(o *client.Options, cancel context.CancelCauseFunc) {
	var lost time.Time // the callbacks run one at a time
	onConnect, onDisconnect := o.OnConnect, o.OnDisconnect
	o.OnConnect = func(resumed bool) {
		lost = time.Time{}
		onConnect(resumed)
	}
	o.OnDisconnect = func(err error) {
		onDisconnect(err)
		switch {
		case lost.IsZero():
			lost = time.Now()
		case time.Since(lost) >= maxOutage:
			cancel(fmt.Errorf("%w after %v: %w", errOutage, maxOutage, err))
		}
	}
}

// watchKeys sets the terminal to raw mode when the first frame is drawn, so that q is seen.
func (j *job) watchKeys(fd int, in io.Reader) (restore *func()) {
	undo := func() {}
	j.screen.FirstFrame = func() {
		before, err := term.MakeRaw(fd)
		if err != nil {
			return // Ctrl-C still ends the command
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

func (j *job) quit() {
	ctx, cancel := context.WithTimeout(context.Background(), quitTimeout)
	defer cancel()
	j.client.Quit(ctx) // if it fails, the session expires
}

// all runs the commands of a stream, one per line.
func (j *job) all(ctx context.Context, in io.Reader) int {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	code := exitOK
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		got := j.one(ctx, line, fmt.Sprintf("line %d: ", n))
		if code == exitOK {
			code = got
		}
		if got != exitOK && (!j.flags.KeepGoing || got == exitInterrupted || ctx.Err() != nil || j.client.Err() != nil) {
			return code
		}
	}
	if err := lines.Err(); err != nil {
		j.screen.Error(fmt.Errorf("read commands: %w", err))
		return max(code, exitFailed)
	}
	return code
}

// one runs a command, shows its result and returns the exit code. prefix precedes an error.
func (j *job) one(ctx context.Context, line, prefix string) int {
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	if name, _, _ := strings.Cut(strings.ReplaceAll(line, ":", " "), " "); name == "format" {
		j.screen.Error(fmt.Errorf("%sformat is not available: use --output", prefix))
		return exitUsage
	}
	if j.flags.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, time.Duration(j.flags.Timeout), errTimeout)
		defer cancel()
	}
	finished, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		j.watch(finished, giveUp)
	}()
	answer, err := j.client.Call(ctx, line)
	close(finished)
	<-watched
	framed := j.screen.EndFrames()
	j.restore() // what follows the frames needs no raw mode
	var failure *shell.Error
	switch {
	case framed && errors.As(err, &failure) && failure.Code == shell.CodeCancelled: // the normal end of frames
		return exitOK
	case err != nil:
		j.screen.Error(fmt.Errorf("%s%w", prefix, err))
	case !framed || answer.Result != nil:
		j.screen.Answer(answer)
	}
	return exitCode(err)
}

// watch handles interrupts: the first cancels the command, the second stops waiting for its answer.
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

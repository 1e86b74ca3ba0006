// Package accesslog writes one line of JSON for each connection that has ended.
//
//	log, err := accesslog.Open("/var/log/server/access.log", accesslog.Options{})
//	…
//	ranch.StartListener("echo", transport.TCP{}, ranch.Options{Observer: log.Observe}, echo.Protocol{})
//	…
//	log.Reopen() // after the file was renamed
//	…
//	log.Close(ctx)
//
// A line looks like this, without the line breaks; the members always have this order:
//
//	{"time":"2026-01-02T15:04:05.123456Z","listener":"shell-tls","id":7,"peer":"192.0.2.1:50123",
//	"local":"10.0.0.1:8080","transport":"tls","reason":"bad input","served":true,"duration":1.234567,
//	"received":120,"sent":4096,
//	"tls":{"version":"TLS 1.3","cipher":"TLS_AES_128_GCM_SHA256","sni":"example.org","alpn":"","client":""},
//	"labels":{"user":"ann"},"error":"bad input: a line has more than 8192 bytes"}
//
// "tls" is absent without a TLS handshake that has succeeded, "labels" without labels, and "error"
// without an error; the text of an error of the connection itself does not repeat its addresses.
// "duration" is in seconds. All that a client chooses follows "sent", so a program that searches
// the beginning of a line cannot be misled. Characters that are not printable are escaped.
//
// Writing never delays a connection: a goroutine writes the lines, which are kept in memory up to
// [Options].MaxBytes; further ones are dropped and counted. While the file cannot be written, for
// example because the disk is full, lines are kept in the same way.
package accesslog

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"syscall"

	"goranch/internal/option"
	"goranch/ranch"
)

// Options are the settings of a [Log]. The zero value of each field is its default.
type Options struct {
	// Mode is the mode of the file if Open creates it. 0 is 0640.
	Mode fs.FileMode
	// MaxBytes limits the memory for pending lines: each takes 256 bytes. 0 is
	// 1 MiB; values below 64 KiB are refused.
	MaxBytes int
	// Logger logs once when lines cannot be written or are dropped, and once when they can be
	// written again. nil is slog.Default().
	Logger *slog.Logger
}

// Stats are the counters of a [Log] since it was created.
type Stats struct {
	Lines   uint64 // written
	Dropped uint64 // lines that were dropped because of MaxBytes
	Errors  uint64 // writes that have failed; the lines are written again
}

// Log is an access log. Its methods may be called from any goroutine.
type Log struct {
	opts Options
	path string // "": a writer

	mu      sync.Mutex
	w       io.Writer
	pending []entry // lines to write
	max     int     // limits pending and writing together
	writing int     // lines that the goroutine has taken from pending and not written yet
	stats   Stats
	closed  bool
	work    chan struct{} // holds one element: there is something to do
	early   chan struct{} // holds one element: do it without waiting for more lines
	done    chan struct{} // closed when the goroutine has ended
}

// Open opens a log that appends to a file, which is created if it does not exist. The file may be a
// named pipe that another process reads.
func Open(path string, o Options) (*Log, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	f, err := open(path, o.mode())
	if err != nil {
		return nil, err
	}
	return start(f, path, o), nil
}

// New returns a log that writes to w, for example os.Stdout. Close does not close w.
func New(w io.Writer, o Options) (*Log, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	return start(w, "", o), nil
}

func (o Options) mode() fs.FileMode { return cmp.Or(o.Mode, 0o640) }

const (
	minBytes = 64 << 10 // the smallest MaxBytes
	// entryBytes is the memory of a pending line: an entry, with a reserve for its labels and its
	// error.
	entryBytes = 256
)

func (o Options) validate() error {
	var f option.Faults
	if o.MaxBytes != 0 && o.MaxBytes < minBytes {
		f.Bad("MaxBytes", o.MaxBytes, fmt.Sprintf("numbers from %d, and 0 for 1048576", minBytes))
	}
	if o.Mode&^fs.ModePerm != 0 {
		f.Bad("Mode", o.Mode, "permissions, and 0 for 0640")
	}
	return f.Err()
}

// open opens a file for appending. A named pipe that no process reads is an error: otherwise the
// call would wait for a reader.
func open(path string, mode fs.FileMode) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NONBLOCK, mode)
	if err != nil {
		return nil, fmt.Errorf("access log: %w", err)
	}
	if info, err := f.Stat(); err == nil && info.IsDir() { // opening it fails on Unix already
		f.Close()
		return nil, fmt.Errorf("access log: %s is a directory", path)
	}
	return f, nil
}

func start(w io.Writer, path string, o Options) *Log {
	option.Default(&o.MaxBytes, 1<<20)
	l := &Log{opts: o, path: path, w: w, max: o.MaxBytes / entryBytes, work: make(chan struct{}, 1), early: make(chan struct{}, 1), done: make(chan struct{})}
	go l.run()
	return l
}

// Observe writes a line for the end of a connection, and ignores other events. It is meant for
// ranch.Options.Observer, and does not wait.
func (l *Log) Observe(e ranch.Event) {
	if e.Kind == ranch.ConnEnded { // short enough to be inlined, which saves a copy of e
		l.record(&e)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Stats returns the current counters.
func (l *Log) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stats
}

// Reopen opens the file of [Open] again: after it was renamed, lines go to a new file. After an
// error they continue to go to the old one. A log of [New] is not changed.
func (l *Log) Reopen() error {
	if l.path == "" {
		return nil
	}
	f, err := open(l.path, l.opts.mode())
	if err != nil {
		return err
	}
	l.mu.Lock()
	old := l.w
	if l.closed {
		old = f
	} else {
		l.w = f
		signal(l.work)
		signal(l.early)
	}
	l.mu.Unlock()
	return closeFile(old) // a write in progress ends first, except to a pipe, and is repeated then
}

func closeFile(w io.Writer) error {
	if f, ok := w.(*os.File); ok {
		return f.Close()
	}
	return nil
}

// Close writes the pending lines, until ctx ends, and closes the file. Later lines are dropped. It
// returns the cause of ctx if that ended first.
func (l *Log) Close(ctx context.Context) error {
	l.mu.Lock()
	if !l.closed {
		l.closed = true
		close(l.work)
		signal(l.early)
	}
	w := l.w
	l.mu.Unlock()
	var err error
	select {
	case <-l.done:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if l.path != "" {
		closeFile(w)
	}
	return err
}

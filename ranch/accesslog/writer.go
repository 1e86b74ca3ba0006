package accesslog

import (
	"bytes"
	"io"
	"log/slog"
	"time"
)

const (
	// retryAfter is the time between two attempts while writes fail.
	retryAfter = time.Second
	// recoverAfter ends an episode: the time for which writes must succeed without a dropped line.
	recoverAfter = time.Second
	// batchTime is how long lines wait after a write for more lines, up to batchLines of them, so
	// that a busy server does not call write for each line. Lines are formatted for one write at a
	// time, up to batchBytes and the last one, so that formatted lines take little memory.
	batchTime  = 20 * time.Millisecond
	batchLines = 128
	batchBytes = 32 << 10
)

// writer is the state of the goroutine that writes.
type writer struct {
	out     io.Writer // the destination of the last write
	taken   []entry   // taken from Log.pending; those from next on are not formatted yet
	next    int
	format  lines
	buf     []byte // lines that are not written yet
	lines   int    // in buf
	midLine bool   // a failed write has written a part of a line to out

	// An episode of failed writes or dropped lines, which is reported when it begins and ends.
	lastFailure time.Time // zero: there is no episode
	dropped     uint64    // Stats.Dropped at the last report
}

// run writes the lines that wait, until the log is closed.
func (l *Log) run() {
	defer close(l.done)
	var w writer
	for range l.work {
		for l.writeAll(&w) != nil { // until the file can be written
			if !l.backOff(&w) {
				break
			}
		}
		l.collect()
	}
	l.writeAll(&w)
	l.mu.Lock()
	l.stats.Dropped += uint64(w.unwritten() + len(l.pending))
	l.pending, l.writing = nil, 0
	l.mu.Unlock()
	l.report(&w, nil)
}

// collect waits for more lines.
func (l *Log) collect() {
	t := time.NewTimer(batchTime)
	defer t.Stop()
	select {
	case <-t.C:
	case <-l.early:
	}
}

// backOff waits before the next attempt, and reports whether the log is still open. Reopen
// interrupts it.
func (l *Log) backOff(w *writer) bool {
	t := time.NewTimer(retryAfter)
	defer t.Stop()
	for {
		l.mu.Lock()
		reopened, closed := l.w != w.out, l.closed
		l.mu.Unlock()
		if closed || reopened {
			return !closed
		}
		select {
		case <-t.C:
			return true
		case <-l.work: // a line, or Reopen, or Close
		}
	}
}

// writeAll writes until nothing waits.
func (l *Log) writeAll(w *writer) error {
	for {
		out := l.take(w)
		if len(w.buf) == 0 && w.next == len(w.taken) {
			return nil
		}
		l.fill(w)
		if len(w.buf) == 0 {
			continue
		}
		if out != w.out {
			w.out, w.midLine = out, false
		}
		n, err := w.write()
		l.written(w, n, err)
		if err != nil {
			return err
		}
	}
}

// unwritten returns the number of lines that were taken from Log.pending and not written yet.
func (w *writer) unwritten() int { return w.lines + len(w.taken) - w.next }

// take takes all lines that wait, if the previous ones are formatted, and returns the destination.
func (l *Log) take(w *writer) io.Writer {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.next == len(w.taken) {
		if cap(w.taken) > 4*batchLines { // after a stall; rarely needed again
			w.taken = nil
		}
		w.taken, l.pending, w.next = l.pending, w.taken[:0], 0
	}
	l.writing = w.unwritten()
	return l.w
}

// fill formats lines for one write.
func (l *Log) fill(w *writer) {
	from := w.next
	for w.next < len(w.taken) && len(w.buf) < batchBytes {
		w.next++
		l.appendLine(w, &w.taken[w.next-1])
	}
	clear(w.taken[from:w.next]) // for the garbage collector
}

// appendLine formats a line. An address or an error of a user may panic; then there is no line.
func (l *Log) appendLine(w *writer, n *entry) {
	before := len(w.buf)
	defer func() {
		if v := recover(); v != nil {
			w.buf = w.buf[:before]
			l.mu.Lock()
			l.stats.Dropped++
			l.mu.Unlock()
			l.logger().Error("a line of the access log cannot be formatted", "listener", n.ref, "conn", n.id, "panic", v)
		}
	}()
	w.buf = w.format.append(w.buf, n)
	w.lines++
}

// write writes buf, and returns how many of its bytes were written.
func (w *writer) write() (n int, err error) {
	if w.midLine { // ends the incomplete line, so that the next one can be parsed
		if _, err := w.out.Write([]byte("\n")); err != nil {
			return 0, err
		}
		w.midLine = false
	}
	n, err = w.out.Write(w.buf)
	if err == nil && n < len(w.buf) {
		err = io.ErrShortWrite
	}
	return n, err
}

// written accounts for the first n bytes of w.buf, which were written before the write failed with
// err. A line of which only a part was written remains, and is written again as a whole.
func (l *Log) written(w *writer, n int, err error) {
	whole := bytes.LastIndexByte(w.buf[:n], '\n') + 1
	w.midLine = w.midLine || n > whole
	lines := w.lines
	if err != nil {
		lines = bytes.Count(w.buf[:whole], []byte("\n"))
	}
	w.buf = append(w.buf[:0], w.buf[whole:]...)
	w.lines -= lines
	l.mu.Lock()
	l.stats.Lines += uint64(lines)
	l.writing = w.unwritten()
	reopened := l.w != w.out // Reopen has closed out, which is the cause of err
	if err != nil && !reopened {
		l.stats.Errors++
	}
	l.mu.Unlock()
	if !reopened {
		l.report(w, err)
	}
}

func (l *Log) logger() *slog.Logger {
	if l.opts.Logger == nil {
		return slog.Default()
	}
	return l.opts.Logger
}

// report logs the beginning and the end of an episode in which lines cannot be written or are
// dropped. Only the goroutine that writes logs: connections must not wait for the logger.
func (l *Log) report(w *writer, err error) {
	now, dropped := time.Now(), l.Stats().Dropped
	log := l.logger()
	began := w.lastFailure.IsZero()
	switch {
	case err != nil:
		w.lastFailure = now
		if began {
			log.Warn("the access log cannot be written; lines are kept in memory", "file", l.path, "err", err)
		}
	case dropped > w.dropped:
		w.lastFailure = now
		if began {
			log.Warn("access log lines are dropped: writes are too slow", "file", l.path)
		}
	case !began && now.Sub(w.lastFailure) >= recoverAfter:
		w.lastFailure = time.Time{}
		log.Info("the access log can be written again", "file", l.path, "dropped", dropped)
	}
	w.dropped = dropped
}

package bots

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"
)

// progress shows how many clients are ready: one line that is rewritten on a terminal, else a line
// per second.
type progress struct {
	w        io.Writer
	terminal bool
	shown    time.Duration // when the last line was written, since the start
	open     bool          // the line is not terminated
}

func newProgress(w io.Writer) *progress {
	f, ok := w.(*os.File)
	return &progress{w: w, terminal: ok && term.IsTerminal(int(f.Fd()))}
}

func (p *progress) show(since time.Duration, ready, all, lost int) {
	text := fmt.Sprintf("%.0f s: %d of %d clients are ready", since.Seconds(), ready, all)
	if lost > 0 {
		text += fmt.Sprintf(", %d lost", lost)
	}
	switch {
	case p.terminal:
		fmt.Fprintf(p.w, "\r%s\x1b[K", text)
		p.open = true
	case since-p.shown >= time.Second:
		p.shown = since
		fmt.Fprintln(p.w, text)
	}
}

// end terminates the line.
func (p *progress) end() {
	if p.open {
		fmt.Fprintln(p.w)
		p.open = false
	}
}

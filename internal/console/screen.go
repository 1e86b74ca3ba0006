package console

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// Screen shows what a client gets, on a terminal or in a file. It is a Viewer.
type Screen struct {
	// Out takes results. Streams takes output that precedes them; nil is Out. Notices
	// takes everything else; nil is Out.
	Out, Streams, Notices io.Writer
	// Size returns the terminal's columns and lines; nil is no terminal.
	Size func() (columns, lines int)
	// Color is whether escape codes for colours may be used.
	Color bool
	// JSON is whether results and frames are written as they come.
	JSON bool
	// FirstFrame is called before a frame that follows none; nil is nothing.
	FirstFrame func()

	mu      sync.Mutex
	midLine bool    // the last output did not end its line
	frame   *Answer // the last, until EndFrames
}

const (
	otherScreen = "\x1b[?1049h" // so that what was there comes back
	firstScreen = "\x1b[?1049l"
	home        = "\x1b[H"
	clearLine   = "\x1b[K"
	clearBelow  = "\x1b[J"
)

// IsTerminal reports whether it is one.
func (s *Screen) IsTerminal() bool { return s.Size != nil }

func (s *Screen) style() Style {
	st := Style{Color: s.Color}
	if s.Size != nil {
		st.Width, _ = s.Size()
	}
	return st
}

func or(w, otherwise io.Writer) io.Writer {
	if w == nil {
		return otherwise
	}
	return w
}

// Output writes a part of what a command streams.
func (s *Screen) Output(p []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(p) == 0 {
		return
	}
	s.midLine = p[len(p)-1] != '\n'
	if s.IsTerminal() {
		p = harmless(p)
	}
	or(s.Streams, s.Out).Write(p)
}

// Notice writes a line about what happened.
func (s *Screen) Notice(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finishLine()
	st := s.style()
	io.WriteString(or(s.Notices, s.Out), st.dim(visible(text))+"\n")
}

// Error writes why a command failed.
func (s *Screen) Error(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finishLine()
	io.WriteString(or(s.Notices, s.Out), s.style().red("error:")+" "+visible(err.Error())+"\n")
}

// Reconnected writes the one line that is said about a connection that was lost.
func (s *Screen) Reconnected(r *Reconnection) {
	after := r.After.Round(100 * time.Millisecond).Seconds()
	text := fmt.Sprintf("connection lost; back after %.1f s", after)
	if !r.Resumed {
		text += " in a new session, for the earlier one is gone"
	}
	s.Notice(text)
}

// Answer writes a result.
func (s *Screen) Answer(a *Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finishLine()
	io.WriteString(s.Out, s.text(a, false))
}

// Done ends the last line of output if its end has not come.
func (s *Screen) Done() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finishLine()
}

func (s *Screen) setJSON(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.JSON = on
}

// text returns what is written for a result or a frame.
func (s *Screen) text(a *Answer, frame bool) string {
	switch {
	case !s.JSON:
		return s.style().Render(a)
	case a.Result == nil:
		return "null\n"
	case s.IsTerminal() && !frame:
		return Pretty(a.Result)
	}
	return string(a.Result) + "\n"
}

// finishLine ends a line of output that is not ended, where something else follows on the same terminal.
func (s *Screen) finishLine() {
	if s.midLine && s.Streams == nil {
		io.WriteString(s.Out, "\n")
	}
	s.midLine = false
}

// Frame draws a frame in the place of the one before. Where that is impossible, frames
// follow each other.
func (s *Screen) Frame(a *Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.IsTerminal() || s.JSON {
		if s.frame != nil && !s.JSON {
			io.WriteString(s.Out, "\n")
		}
		s.frame = a
		io.WriteString(s.Out, s.text(a, true))
		return
	}
	var b strings.Builder
	if s.frame == nil {
		s.finishLine()
		if s.FirstFrame != nil {
			s.FirstFrame()
		}
		b.WriteString(otherScreen)
	}
	s.frame = a
	_, height := s.Size()
	lines := strings.Split(strings.TrimSuffix(s.style().Render(a), "\n"), "\n")
	if height > 1 && len(lines) > height-1 {
		lines = lines[:height-1]
	}
	b.WriteString(home)
	for _, line := range lines {
		b.WriteString(line + clearLine + "\r\n") // the terminal may be raw
	}
	b.WriteString(clearBelow)
	io.WriteString(s.Out, b.String())
}

// EndFrames goes back to the screen of before, and leaves the last frame there. It
// reports whether there were any.
func (s *Screen) EndFrames() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.frame == nil {
		return false
	}
	if s.IsTerminal() && !s.JSON {
		io.WriteString(s.Out, firstScreen+strings.ReplaceAll(s.style().Render(s.frame), "\n", "\r\n"))
	}
	s.frame = nil
	return true
}

// drawing reports whether frames are on the screen, so that keys are not for the prompt.
func (s *Screen) drawing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.frame != nil && s.IsTerminal()
}

// WantsColor follows no-color.org.
func WantsColor(terminal bool) bool {
	return terminal && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

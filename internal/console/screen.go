package console

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"goranch/protocol/shell/client"
)

// Screen shows answers, output and notices on a terminal or in a file. Its methods may be called
// from any goroutine. The fields must be set before use.
type Screen struct {
	// Out is written results. Streams is written the output that precedes them; nil is Out. Notices
	// is written everything else; nil is Out.
	Out, Streams, Notices io.Writer
	// Size returns the terminal's columns and lines; nil means that Out is not a terminal.
	Size func() (columns, lines int)
	// Color allows escape sequences for colours.
	Color bool
	// JSON writes results and frames as JSON documents.
	JSON bool
	// FirstFrame is called before the first frame of a command. nil is not called.
	FirstFrame func()

	mu      sync.Mutex
	midLine bool           // the last output did not end with a line feed
	frame   *client.Answer // the last frame, until EndFrames
	lost    time.Time      // when the connection broke; zero while connected
}

const (
	alternateScreen = "\x1b[?1049h"
	normalScreen    = "\x1b[?1049l"
	home            = "\x1b[H"
	clearLine       = "\x1b[K"
	clearBelow      = "\x1b[J"
)

// SetCallbacks sets all callbacks of o to show what they report.
func (s *Screen) SetCallbacks(o *client.Options) {
	o.OnConnect, o.OnDisconnect = s.connected, s.disconnected
	o.OnOutput, o.OnFrame = s.Output, s.showFrame
	o.OnOutputLost = func(n int64) {
		s.Notice("the server has discarded " + formatBytes(n) + " of output during the interruption")
	}
	o.OnShutdown = func() { s.Notice("the server is shutting down") }
}

func (s *Screen) disconnected(error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost.IsZero() {
		s.lost = time.Now()
	}
}

// connected writes one line about a reconnect.
func (s *Screen) connected(resumed bool) {
	s.mu.Lock()
	lost := s.lost
	s.lost = time.Time{}
	s.mu.Unlock()
	if lost.IsZero() {
		return // the first connection
	}
	text := fmt.Sprintf("connection lost; reconnected after %.1f s", time.Since(lost).Round(100*time.Millisecond).Seconds())
	if !resumed {
		text += ", in a new session: the earlier one has ended"
	}
	s.Notice(text)
}

func (s *Screen) isTerminal() bool { return s.Size != nil }

func (s *Screen) style() style {
	st := style{color: s.Color}
	if s.Size != nil {
		st.width, _ = s.Size()
	}
	return st
}

// or returns w, or otherwise if w is nil.
func or(w, otherwise io.Writer) io.Writer {
	if w == nil {
		return otherwise
	}
	return w
}

// Output writes output that a command streams.
func (s *Screen) Output(p []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(p) == 0 {
		return
	}
	s.midLine = p[len(p)-1] != '\n'
	if s.isTerminal() {
		p = harmless(p)
	}
	or(s.Streams, s.Out).Write(p)
}

// Notice writes a line about the connection or the client.
func (s *Screen) Notice(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endLine()
	io.WriteString(or(s.Notices, s.Out), s.style().dim(visible(text))+"\n")
}

// Error writes the error of a command.
func (s *Screen) Error(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endLine()
	io.WriteString(or(s.Notices, s.Out), s.style().red("error:")+" "+visible(err.Error())+"\n")
}

// Answer writes a result.
func (s *Screen) Answer(a *client.Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endLine()
	io.WriteString(s.Out, s.text(a, false))
}

// EndLine writes a line feed if the last output did not end with one.
func (s *Screen) EndLine() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endLine()
}

// endLine requires s.mu. Output that goes to Streams is not on the same terminal line as results.
func (s *Screen) endLine() {
	if s.midLine && s.Streams == nil {
		io.WriteString(s.Out, "\n")
	}
	s.midLine = false
}

func (s *Screen) setJSON(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.JSON = on
}

// text returns a result or a frame as it is written.
func (s *Screen) text(a *client.Answer, frame bool) string {
	switch {
	case !s.JSON:
		return s.style().render(a)
	case a.Result == nil:
		return "null\n"
	case s.isTerminal() && !frame:
		return indent(a.Result)
	}
	return string(a.Result) + "\n"
}

// showFrame draws a frame in place of the frame before. In a file, and as JSON, frames follow each
// other.
func (s *Screen) showFrame(a *client.Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.isTerminal() || s.JSON {
		if s.frame != nil && !s.JSON {
			io.WriteString(s.Out, "\n")
		}
		s.frame = a
		io.WriteString(s.Out, s.text(a, true))
		return
	}
	var b strings.Builder
	if s.frame == nil {
		s.endLine()
		if s.FirstFrame != nil {
			s.FirstFrame()
		}
		b.WriteString(alternateScreen)
	}
	s.frame = a
	_, height := s.Size()
	lines := strings.Split(strings.TrimSuffix(s.style().render(a), "\n"), "\n")
	if height > 1 && len(lines) > height-1 {
		lines = lines[:height-1]
	}
	b.WriteString(home)
	for _, line := range lines {
		b.WriteString(line + clearLine + "\r\n") // the terminal may be in raw mode
	}
	b.WriteString(clearBelow)
	io.WriteString(s.Out, b.String())
}

// EndFrames switches back to the normal screen and writes the last frame there. It returns false if
// there were no frames.
func (s *Screen) EndFrames() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.frame == nil {
		return false
	}
	if s.isTerminal() && !s.JSON {
		io.WriteString(s.Out, normalScreen+strings.ReplaceAll(s.style().render(s.frame), "\n", "\r\n"))
	}
	s.frame = nil
	return true
}

// drawing reports whether frames are on the screen, so that keys do not belong to the prompt.
func (s *Screen) drawing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.frame != nil && s.isTerminal()
}

// WantsColor reports whether to use colours, by the environment variables NO_COLOR (no-color.org)
// and TERM.
func WantsColor(terminal bool) bool {
	return terminal && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

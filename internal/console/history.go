package console

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// historyLimit is how many lines are kept.
const historyLimit = 1000

// history is what was typed, the oldest first. It is x/term's History.
type history struct {
	entries []string
	file    string // "" keeps it in memory only
}

// HistoryFile returns where the history of a program of that name belongs, and "" if
// that cannot be told.
func HistoryFile(program string) string {
	dir := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(dir) { // as the specification wants it
		home, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		dir = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(dir, program, "history")
}

// openHistory reads the file. With an error there is a history still, in memory.
func openHistory(file string) (*history, error) {
	h := &history{}
	if file == "" {
		return h, nil
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return h, err
	}
	f, err := os.OpenFile(file, os.O_RDONLY|os.O_CREATE, 0o600)
	if err != nil {
		return h, err
	}
	defer f.Close()
	if err := f.Chmod(0o600); err != nil && !errors.Is(err, fs.ErrPermission) {
		return h, err
	}
	lines, n := bufio.NewScanner(f), 0
	for ; lines.Scan(); n++ {
		h.keep(lines.Text())
	}
	h.file = file
	if n > 2*historyLimit { // it grows at the end, and is cut here only
		return h, h.rewrite()
	}
	return h, lines.Err()
}

// rewrite replaces the file in one step, so that another program sees the old or the new one.
func (h *history) rewrite() error {
	tmp, err := os.CreateTemp(filepath.Dir(h.file), ".history-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.WriteString(strings.Join(h.entries, "\n") + "\n")
	if err := errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), h.file)
}

// Add keeps a line, unless it is empty, a secret, begins with a blank or is the one before again.
func (h *history) Add(line string) {
	line = strings.TrimRight(line, " \t")
	if line == "" || line[0] == ' ' || secret(line) || !h.keep(line) || h.file == "" {
		return
	}
	f, err := os.OpenFile(h.file, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return // the line is in memory; a prompt is no place for the state of a disk
	}
	f.WriteString(line + "\n")
	f.Close()
}

func (h *history) keep(line string) bool {
	line = strings.TrimRight(line, " \t\r\n")
	if line == "" || len(h.entries) > 0 && h.entries[len(h.entries)-1] == line {
		return false
	}
	h.entries = append(h.entries, line)
	if extra := len(h.entries) - historyLimit; extra > 0 {
		h.entries = append(h.entries[:0], h.entries[extra:]...)
	}
	return true
}

// Len returns how many lines there are.
func (h *history) Len() int { return len(h.entries) }

// At returns a line; 0 is the newest.
func (h *history) At(i int) string { return h.entries[len(h.entries)-1-i] }

// find returns the newest line older than the i-th that contains s; -1 if there is none.
func (h *history) find(s string, i int) int {
	for i++; i < h.Len(); i++ {
		if strings.Contains(h.At(i), s) {
			return i
		}
	}
	return -1
}

// secret reports whether a line gives a token away.
func secret(line string) bool {
	name, _, _ := strings.Cut(strings.TrimSpace(line), ":")
	name, _, _ = strings.Cut(name, " ")
	return strings.EqualFold(name, "auth")
}

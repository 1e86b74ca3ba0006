package console

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// historyLimit is the number of lines in memory, and the least number in the file.
const historyLimit = 1000

// history is the lines that were typed, the oldest first. It implements term.History.
type history struct {
	entries []string
	file    string // "": memory only
}

// HistoryFile returns the path of the history of a program by the XDG Base Directory Specification,
// and "" if there is no home directory.
func HistoryFile(program string) string {
	dir := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(dir) { // the specification says to ignore relative paths
		home, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		dir = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(dir, program, "history")
}

// openHistory reads the file, and creates it if it does not exist. With an error, it also returns a
// history, which is in memory only.
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
		h.append(lines.Text())
	}
	h.file = file
	if n > 2*historyLimit { // lines are appended; the file is cut here only
		return h, h.rewrite()
	}
	return h, lines.Err()
}

// rewrite replaces the file in one step, so that another process reads the old or the new one.
func (h *history) rewrite() error {
	tmp, err := os.CreateTemp(filepath.Dir(h.file), ".history-*") // mode 0600
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

// Add stores a line. It ignores empty lines, lines with a token, lines that begin with a blank, and
// repetitions of the line before.
func (h *history) Add(line string) {
	line = strings.TrimRight(line, " \t")
	if line == "" || line[0] == ' ' || isSecret(line) || !h.append(line) || h.file == "" {
		return
	}
	f, err := os.OpenFile(h.file, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return // the line is in memory; the error was reported when the file was opened
	}
	f.WriteString(line + "\n")
	f.Close()
}

// append adds a line in memory. It returns false for an empty line and a repetition.
func (h *history) append(line string) bool {
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

// Len returns the number of lines.
func (h *history) Len() int { return len(h.entries) }

// At returns a line; 0 is the newest.
func (h *history) At(i int) string { return h.entries[len(h.entries)-1-i] }

// find returns the index of the newest line older than line i that contains s; -1 if there is none.
func (h *history) find(s string, i int) int {
	for i++; i < h.Len(); i++ {
		if strings.Contains(h.At(i), s) {
			return i
		}
	}
	return -1
}

// isSecret reports whether a line contains a token.
func isSecret(line string) bool {
	name, _, _ := strings.Cut(strings.TrimSpace(line), ":")
	name, _, _ = strings.Cut(name, " ")
	return strings.EqualFold(name, "auth")
}

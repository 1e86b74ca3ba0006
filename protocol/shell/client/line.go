package client

import (
	"strings"
	"unicode/utf8"

	"goranch/protocol/shell"
)

// Line returns a command line that the shell parses into name and exactly these args: it quotes
// arguments with blanks, quotes and backslashes.
func Line(name string, args ...string) string {
	words := []string{name}
	for _, arg := range args {
		words = append(words, quote(arg))
	}
	return strings.Join(words, " ")
}

func quote(arg string) string {
	if arg != "" && !strings.ContainsAny(arg, " \t\"'\\") {
		return arg
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(arg) + `"`
}

// checkText returns an error if s would not arrive as one request: line feeds, NUL and Ctrl-C have
// a meaning on the wire, and carriage returns are dropped.
func checkText(s string) error {
	if i := strings.IndexAny(s, "\n\r\x00\x03"); i >= 0 {
		return shell.Usage("a request is one line of text, this one contains %q", s[i])
	}
	if !utf8.ValidString(s) {
		return shell.Usage("a request is UTF-8 text, this one is not")
	}
	return nil
}

// checkLine returns an error if a caller cannot send the line: the server does not answer an empty
// line, and the client relies on the answer format and the session that it has chosen.
func checkLine(line string) error {
	name := strings.TrimLeft(line, " \t")
	if i := strings.IndexAny(name, ": \t"); i >= 0 {
		name = name[:i]
	}
	switch name {
	case "":
		return shell.Usage("the command is missing")
	case "format", "reconnect":
		return shell.Usage("%s is reserved for the client", name)
	}
	return checkText(line)
}

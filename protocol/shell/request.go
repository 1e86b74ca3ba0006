package shell

import (
	"bytes"
	"errors"
	"strings"
	"unicode/utf8"
)

// line is a request, split into name and value.
type line struct {
	name  string
	value string // the text after the name
	colon bool   // "name:value": the value is one argument, without quotes or flags
}

// split divides a request at the first ":" or blank, and removes leading blanks.
func split(s string) line {
	s = trimBlanks(s)
	i := nameEnd(s)
	if i == len(s) {
		return line{name: s}
	}
	if s[i] == ':' {
		return line{s[:i], s[i+1:], true}
	}
	return line{name: s[:i], value: strings.Trim(s[i:], " \t")}
}

// nameEnd returns the length of the name at the beginning of a request.
func nameEnd[T string | []byte](s T) int {
	for i := range len(s) {
		if c := s[i]; c == ':' || isBlank(c) {
			return i
		}
	}
	return len(s)
}

// trimBlanks returns s without leading blanks.
func trimBlanks[T string | []byte](s T) T {
	for len(s) > 0 && isBlank(s[0]) {
		s = s[1:]
	}
	return s
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// args returns the arguments of a request.
func (l line) args() ([]string, error) {
	if !l.colon {
		return words(l.value)
	}
	if l.value == "" {
		return nil, nil
	}
	return []string{l.value}, nil
}

var (
	errQuote     = errors.New("missing closing quote")
	errBackslash = errors.New("backslash at the end")
)

// words divides a command line at blanks. Single quotes preserve every character; in double quotes
// \" and \\ stand for the second character; elsewhere a backslash makes the next character literal.
// There are no variables, patterns or operators.
func words(s string) ([]string, error) {
	var all []string
	var word []byte
	in, inWord := byte(0), false
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case in == 0 && (c == ' ' || c == '\t'):
			if inWord {
				all, word, inWord = append(all, string(word)), word[:0], false
			}
			continue
		case in == 0 && (c == '\'' || c == '"'):
			in = c
		case in != 0 && c == in:
			in = 0
		case c == '\\' && in != '\'':
			if i++; i == len(s) {
				return nil, errBackslash
			}
			if in == '"' && s[i] != '"' && s[i] != '\\' {
				word = append(word, '\\')
			}
			word = append(word, s[i])
		default:
			word = append(word, c)
		}
		inWord = true
	}
	if in != 0 {
		return nil, errQuote
	}
	if inWord {
		all = append(all, string(word))
	}
	return all, nil
}

// lastWord returns the offset of the last word of an incomplete command line.
func lastWord(s string) int {
	start, in := 0, byte(0)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case in == 0 && (c == ' ' || c == '\t'):
			start = i + 1
		case in == 0 && (c == '\'' || c == '"'):
			in = c
		case c == in:
			in = 0
		case c == '\\' && in != '\'':
			i++
		}
	}
	return start
}

// quote returns s so that words returns it as one word.
func quote(s string) string {
	if s != "" && !strings.ContainsAny(s, " \t'\"\\") {
		return s
	}
	if !strings.Contains(s, "'") {
		return "'" + s + "'"
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

var (
	errNUL  = &Error{Code: CodeUsage, Message: "the request contains a NUL byte"}
	errUTF8 = &Error{Code: CodeUsage, Message: "the request is not UTF-8"}
)

// checkText returns the error for a request that is not valid text.
func checkText(b []byte) *Error {
	if bytes.IndexByte(b, 0) >= 0 {
		return errNUL
	}
	if !utf8.Valid(b) {
		return errUTF8
	}
	return nil
}

package protocol

import "fmt"

var errUnbalanced = fmt.Errorf("%w: unbalanced quotes in a RESP command", ErrBadInput)

// RESPArgs appends the arguments of command, a frame of [RESPCommands], to args and returns it. It
// allocates only if args is too short. The arguments are parts of command, in which those of an
// inline command are unquoted in place. The error wraps [ErrBadInput]: an inline command whose
// quotes are unbalanced, or bytes that are no command; args is returned unchanged then.
func RESPArgs(args [][]byte, command []byte) ([][]byte, error) {
	if len(command) == 0 || command[0] != '*' {
		return respInlineArgs(args, command)
	}
	before := len(args)
	n, pos, err := respNumber(command, 1, len(command), true)
	for ; n > 0 && pos > 0 && err == nil; n-- {
		var length, start int
		length, start, err = respBulk(command, pos, len(command))
		if pos = start + length + len("\r\n"); start == 0 || pos > len(command) {
			pos = 0
			break
		}
		args = append(args, command[start:start+length:start+length])
	}
	switch {
	case err != nil:
		return args[:before], err
	case pos != len(command):
		return args[:before], fmt.Errorf("%w: %d bytes are not one RESP command", ErrBadInput, len(command))
	}
	return args, nil
}

// respInlineArgs divides a line as sdssplitargs of Redis does. It moves the arguments to the left
// over quotes and backslashes.
func respInlineArgs(args [][]byte, line []byte) ([][]byte, error) {
	before := len(args)
	r, w := 0, 0
	for {
		for r < len(line) && respSpace(line[r]) {
			r++
		}
		if r == len(line) {
			return args, nil
		}
		start := w
		var ok bool
		if r, w, ok = respWord(line, r, w); !ok {
			return args[:before], errUnbalanced
		}
		args = append(args, line[start:w:w])
	}
}

func respSpace(b byte) bool { return b == ' ' || b >= '\t' && b <= '\r' }

// respWord moves the word at line[r:] to line[w:], and returns the positions after it.
func respWord(line []byte, r, w int) (int, int, bool) {
	for r < len(line) {
		switch b := line[r]; b {
		case ' ', '\n', '\r', '\t':
			return r, w, true
		case '"', '\'':
			return respQuoted(line, r+1, w, b)
		default:
			line[w] = b
			r, w = r+1, w+1
		}
	}
	return r, w, true
}

// respQuoted is respWord from after a quote on. The closing quote ends the word.
func respQuoted(line []byte, r, w int, quote byte) (int, int, bool) {
	for r < len(line) {
		b, size := line[r], 1
		switch {
		case b == quote:
			r++
			return r, w, r == len(line) || respSpace(line[r])
		case b == '\\' && quote == '"' && r+1 < len(line):
			b, size = respEscape(line[r+1:])
			size++
		case b == '\\' && quote == '\'' && r+1 < len(line) && line[r+1] == quote:
			b, size = quote, 2
		}
		line[w] = b
		r, w = r+size, w+1
	}
	return r, w, false
}

// respEscape returns the byte for the characters after a backslash, and the number of these.
func respEscape(s []byte) (b byte, size int) {
	switch s[0] {
	case 'x':
		if len(s) >= 3 {
			high, ok := hexDigit(s[1])
			low, ok2 := hexDigit(s[2])
			if ok && ok2 {
				return byte(high<<4 | low), 3
			}
		}
	case 'n':
		return '\n', 1
	case 'r':
		return '\r', 1
	case 't':
		return '\t', 1
	case 'b':
		return '\b', 1
	case 'a':
		return '\a', 1
	}
	return s[0], 1
}

package pubsub

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxDepth limits how deeply arrays and objects may be nested, so that every recursive decoder of a
// subscriber can read what the server accepts.
const maxDepth = 128

// members receives the members of the object that a jsonScanner reads, and those of objects that
// are values of its members, in the order in which they end. key is without quotes; both are parts
// of the scanned bytes. outer is the key of the object, nil for the outermost one.
type members interface {
	member(outer, key, value []byte) error
}

// jsonScanner validates one JSON object, in one pass, as its bytes arrive. It accepts what RFC 8259
// allows, in valid UTF-8 and nested up to maxDepth. Each byte is examined once, however the object
// is divided into pieces.
type jsonScanner struct {
	pos     int // of the next byte
	state   scanState
	inKey   bool // the string is a key
	number  numberState
	depth   int
	object  bool                  // the innermost container is an object
	objects [maxDepth / 64]uint64 // bit d: the container at depth d+1 is an object

	current [reportedDepth]span // members of the containers at depth 1 and 2
}

// reportedDepth is the depth of objects up to which members are reported.
const reportedDepth = 2

// span is the position of a member.
type span struct{ keyStart, keyEnd, valueStart int }

type scanState uint8

const (
	beforeObject scanState = iota
	beforeValue
	beforeValueOrEnd // after "["
	beforeKeyOrEnd   // after "{"
	beforeKey
	beforeColon
	afterValue
	inString
	inNumber
	complete
)

type numberState uint8

const (
	numberSign numberState = iota // digits must follow
	numberZero
	numberInteger
	numberPoint // digits must follow
	numberFraction
	numberExponent     // a sign or digits must follow
	numberExponentSign // digits must follow
	numberExponentDigits
)

// plain are the bytes that need no examination in a string.
var plain = func() (table [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		table[c] = c != '"' && c != '\\'
	}
	return table
}()

// scan continues with b, which begins with the bytes of earlier calls. It reports true when the
// object is complete; s.pos is then the position after it.
func (s *jsonScanner) scan(b []byte, m members) (done bool, err error) {
	for s.pos < len(b) && s.state != complete {
		var more bool
		switch c := b[s.pos]; s.state {
		case inString:
			more, err = s.scanString(b)
			if err == nil && !more {
				err = s.endString(b, m)
			}
		case inNumber:
			err = s.scanNumber(b)
			if err == nil && s.pos < len(b) {
				err = s.endValue(b, m)
			}
		case beforeValue, beforeValueOrEnd:
			switch c {
			case ' ', '\t', '\r', '\n':
				s.pos++
			case '[', '{':
				if s.depth <= reportedDepth {
					s.current[s.depth-1].valueStart = s.pos
				}
				err = s.open(c == '{')
			default:
				more, err = s.scanValue(b, c, m)
			}
		default:
			if c == ' ' || c == '\t' || c == '\r' || c == '\n' {
				s.pos++
			} else {
				err = s.scanToken(b, c, m)
			}
		}
		if more || err != nil {
			return false, err
		}
	}
	return s.state == complete, nil
}

// scanToken handles the byte c outside values.
func (s *jsonScanner) scanToken(b []byte, c byte, m members) error {
	switch s.state {
	case afterValue:
		return s.scanSeparator(b, c, m)
	case beforeKeyOrEnd, beforeKey:
		switch {
		case c == '"':
			s.beginString(true)
			return nil
		case c == '}' && s.state == beforeKeyOrEnd:
			return s.close(b, m)
		}
		return unexpectedIn(b[s.pos:], "looking for beginning of object key string")
	case beforeColon:
		if c != ':' {
			return unexpectedIn(b[s.pos:], "after object key")
		}
		s.state = beforeValue
		s.pos++
		return nil
	}
	switch { // before the object
	case c == '{':
		return s.open(true)
	case c == '[', c == '"', c == '-' || c >= '0' && c <= '9':
		return fmt.Errorf("unexpected %s", kindOf(b[s.pos:]))
	}
	return unexpectedIn(b[s.pos:], "looking for beginning of value")
}

func (s *jsonScanner) scanSeparator(b []byte, c byte, m members) error {
	object := s.object
	switch {
	case c == ',':
		if s.state = beforeValue; object {
			s.state = beforeKey
		}
		s.pos++
		return nil
	case c == '}' && object, c == ']' && !object:
		return s.close(b, m)
	case object:
		return unexpectedIn(b[s.pos:], "after object key:value pair")
	}
	return unexpectedIn(b[s.pos:], "after array element")
}

func (s *jsonScanner) scanValue(b []byte, c byte, m members) (more bool, err error) {
	if c == ']' && s.state == beforeValueOrEnd {
		return false, s.close(b, m)
	}
	if s.depth <= reportedDepth {
		s.current[s.depth-1].valueStart = s.pos
	}
	switch {
	case c == '"':
		s.beginString(false)
		return false, nil
	case c == '-':
		s.state, s.number = inNumber, numberSign
		s.pos++
		return false, nil
	case c == '0':
		s.state, s.number = inNumber, numberZero
		s.pos++
		return false, nil
	case c >= '1' && c <= '9':
		s.state, s.number = inNumber, numberInteger
		s.pos++
		return false, nil
	case c == 't', c == 'f', c == 'n':
		return s.scanLiteral(b, c, m)
	}
	return false, unexpectedIn(b[s.pos:], "looking for beginning of value")
}

func (s *jsonScanner) scanLiteral(b []byte, c byte, m members) (more bool, err error) {
	literal := "true"
	switch c {
	case 'f':
		literal = "false"
	case 'n':
		literal = "null"
	}
	rest := b[s.pos:]
	for i := range literal {
		if i == len(rest) {
			return true, nil
		}
		if rest[i] != literal[i] {
			return false, unexpected(rest[i], fmt.Sprintf("in literal %s (expecting %q)", literal, rune(literal[i])))
		}
	}
	s.pos += len(literal)
	return false, s.endValue(b, m)
}

func (s *jsonScanner) open(object bool) error {
	if s.depth == maxDepth {
		return fmt.Errorf("nested more than %d deep", maxDepth)
	}
	d := s.depth
	s.depth++
	s.object = object
	if object {
		s.objects[d/64] |= 1 << (d % 64)
		s.state = beforeKeyOrEnd
	} else {
		s.objects[d/64] &^= 1 << (d % 64)
		s.state = beforeValueOrEnd
	}
	s.pos++
	return nil
}

func (s *jsonScanner) close(b []byte, m members) error {
	s.depth--
	s.pos++
	if s.depth == 0 {
		s.state = complete
		return nil
	}
	d := s.depth - 1
	s.object = s.objects[d/64]>>(d%64)&1 == 1
	return s.endValue(b, m)
}

// endValue is called after the last byte of a value.
func (s *jsonScanner) endValue(b []byte, m members) error {
	s.state = afterValue
	if s.depth > reportedDepth || !s.object {
		return nil
	}
	var outer []byte
	if s.depth == 2 {
		outer = b[s.current[0].keyStart:s.current[0].keyEnd]
	}
	c := s.current[s.depth-1]
	return m.member(outer, b[c.keyStart:c.keyEnd], b[c.valueStart:s.pos])
}

func (s *jsonScanner) beginString(key bool) {
	s.pos++
	s.state, s.inKey = inString, key
	if key && s.depth <= reportedDepth {
		s.current[s.depth-1].keyStart = s.pos
	}
}

// endString is called after the closing quote.
func (s *jsonScanner) endString(b []byte, m members) error {
	if !s.inKey {
		return s.endValue(b, m)
	}
	s.state = beforeColon
	if s.depth <= reportedDepth {
		s.current[s.depth-1].keyEnd = s.pos - 1
	}
	return nil
}

// scanString moves s.pos behind the closing quote. It reports true when that has not arrived.
func (s *jsonScanner) scanString(b []byte) (more bool, err error) {
	i := s.pos
	for {
		for i < len(b) && plain[b[i]] {
			i++
		}
		if i == len(b) {
			s.pos = i
			return true, nil
		}
		switch c := b[i]; {
		case c == '"':
			s.pos = i + 1
			return false, nil
		case c == '\\':
			n, err := checkEscape(b[i:])
			if n == 0 {
				s.pos = i
				return true, err
			}
			i += n
		case c < ' ':
			return false, unexpected(c, "in string literal")
		default:
			n, err := checkRune(b[i:])
			if n == 0 {
				s.pos = i
				return true, err
			}
			i += n
		}
	}
}

// checkRune returns the length of the first character of b, or 0 if the rest of it is missing.
func checkRune(b []byte) (n int, err error) {
	r, n := utf8.DecodeRune(b)
	switch {
	case r != utf8.RuneError || n > 1:
		return n, nil
	case utf8.FullRune(b):
		return 0, fmt.Errorf("invalid UTF-8: byte %#02x", b[0])
	}
	return 0, nil
}

// checkEscape returns the length of the escape sequence at the beginning of b, or 0 if the rest of
// it is missing.
func checkEscape(b []byte) (n int, err error) {
	if len(b) < 2 {
		return 0, nil
	}
	if b[1] != 'u' {
		if strings.IndexByte(`"\/bfnrt`, b[1]) < 0 {
			return 0, unexpected(b[1], "in string escape code")
		}
		return 2, nil
	}
	for i := 2; i < 6; i++ {
		if i == len(b) {
			return 0, nil
		}
		if c := b[i]; (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'f') {
			return 0, unexpected(c, `in \u hexadecimal character escape`)
		}
	}
	return 6, nil
}

// scanNumber moves s.pos behind the number, or to the end of b.
func (s *jsonScanner) scanNumber(b []byte) error {
	for ; s.pos < len(b); s.pos++ {
		c := b[s.pos]
		digit := c >= '0' && c <= '9'
		switch s.number {
		case numberSign:
			switch {
			case c == '0':
				s.number = numberZero
			case digit:
				s.number = numberInteger
			default:
				return unexpected(c, "in numeric literal")
			}
		case numberZero, numberInteger, numberFraction:
			switch {
			case digit && s.number != numberZero:
			case c == '.' && s.number != numberFraction:
				s.number = numberPoint
			case c|0x20 == 'e':
				s.number = numberExponent
			default:
				return nil
			}
		case numberPoint:
			if !digit {
				return unexpected(c, "after decimal point in numeric literal")
			}
			s.number = numberFraction
		case numberExponent, numberExponentSign:
			switch {
			case digit:
				s.number = numberExponentDigits
			case (c == '+' || c == '-') && s.number == numberExponent:
				s.number = numberExponentSign
			default:
				return unexpected(c, "in exponent of numeric literal")
			}
		case numberExponentDigits:
			if !digit {
				return nil
			}
		}
	}
	return nil
}

// unexpectedIn is unexpected for the first byte of b, outside strings.
func unexpectedIn(b []byte, where string) error {
	if _, err := checkRune(b); err != nil {
		return err
	}
	return unexpected(b[0], where)
}

func unexpected(c byte, where string) error {
	q := strconv.Quote(string(rune(c)))
	switch c {
	case '\'':
		q = `"\'"`
	case '"':
		q = `"""`
	}
	return fmt.Errorf("invalid character '%s' %s", q[1:len(q)-1], where)
}

// isString reports whether a JSON value is a string.
func isString(value []byte) bool { return len(value) > 0 && value[0] == '"' }

// kindOf describes a JSON value in an error.
func kindOf(value []byte) string {
	switch c := value[0]; c {
	case '{':
		return "object"
	case '[':
		return "array"
	case '"':
		return "string"
	case 't', 'f':
		return "bool"
	case 'n':
		return "null"
	}
	return "number"
}

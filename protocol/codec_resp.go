package protocol

import (
	"bytes"
	"fmt"
	"math"
	"strings"

	"goranch/internal/option"
)

// RESPCommands are the commands that clients of Redis send (RESP2): arrays of bulk strings, and
// inline commands, which are lines. A frame is a whole command as it was received; [RESPArgs]
// divides it without allocations. Answers are sent with [Peer.Outbox], already encoded.
//
// It accepts what redis-server accepts, except that the CR LF after a bulk string is checked. An
// array in an array is refused. An empty array or line is a command without arguments, which Redis
// ignores. An inline command that begins with POST or Host: is refused: it is an HTTP request that
// a web page makes a browser send.
//
// Source: https://redis.io/docs/latest/develop/reference/protocol-spec/ and networking.c of Redis 7.
type RESPCommands struct {
	// Max is the longest command in bytes, with all its headers. 0 is 256 KiB; transport.NoLimit,
	// or any negative value, is 2 GiB. Inline commands have at most 64 KiB in any case.
	Max int
	// MaxArgs is the greatest number of arguments. 0 is 1,048,576; negative values are refused. An
	// argument takes 6 bytes at least, so Max limits them too.
	MaxArgs int
	// MaxBulk is the longest argument in bytes. 0 is what Max allows; negative values are refused.
	MaxBulk int
}

const (
	defaultMaxArgs = 1 << 20
	maxInline      = 64 << 10
	minBulk        = len("$0\r\n\r\n")
)

func (c RESPCommands) validate() error {
	var f option.Faults
	f.NotNegative("RESPCommands.MaxArgs", c.MaxArgs, "0 for 1048576")
	f.NotNegative("RESPCommands.MaxBulk", c.MaxBulk, "0 for what Max allows")
	return f.Err()
}

// Decode returns the first command.
func (c RESPCommands) Decode(buf []byte) (frame []byte, n, need int, err error) {
	if len(buf) == 0 {
		return nil, 0, 1, nil
	}
	if buf[0] != '*' {
		return c.decodeInline(buf)
	}
	n, need, err = c.decodeArray(buf)
	if n > 0 {
		frame = buf[:n:n]
	}
	return frame, n, need, err
}

// decodeArray returns the length of the array at the beginning of buf. If it is incomplete, need is
// the number of bytes with which it has to be examined again.
func (c RESPCommands) decodeArray(buf []byte) (n, need int, err error) {
	limit := maxFrame(c.Max)
	maxArgs, maxBulk := c.MaxArgs, limit
	option.Default(&maxArgs, defaultMaxArgs)
	if c.MaxBulk > 0 {
		maxBulk = min(c.MaxBulk, limit)
	}
	args, pos, err := respNumber(buf, 1, min(maxArgs, limit/minBulk), true)
	switch {
	case err != nil:
		return 0, 0, err
	case pos == 0:
		return 0, respNeed(buf, 0, 0), nil
	}
	for ; args > 0; args-- {
		length, start, err := respBulk(buf, pos, maxBulk)
		end := start + length
		least := end + 2 + (args-1)*minBulk // of the whole command
		switch {
		case err != nil:
			return 0, 0, err
		case start == 0:
			return 0, respNeed(buf, 0, pos+args*minBulk), nil
		case least > limit:
			return 0, 0, fmt.Errorf("%w: a RESP command of at least %d bytes, the limit is %d", ErrFrameTooLarge, least, limit)
		case end < len(buf) && buf[end] != '\r':
			return 0, 0, badRESP(buf, end, "CR")
		case end+1 < len(buf) && buf[end+1] != '\n':
			return 0, 0, badRESP(buf, end+1, "LF")
		case len(buf) < end+2:
			return 0, respNeed(buf, end+1, least), nil
		}
		pos = end + 2
	}
	return pos, 0, nil
}

// respNeed returns need of an incomplete array, given the least bytes that can complete it, and the
// number of bytes after which the next one can be wrong, 0 if that is any. Each examination begins
// at the first byte, so an array of more than 1 KiB is examined again only when a quarter more has
// arrived: the cost of an array that arrives byte by byte is proportional to its length.
func respNeed(buf []byte, next, least int) int {
	if len(buf) >= 1<<10 {
		next = max(next, min(least, len(buf)+len(buf)/4))
	}
	if next <= len(buf) {
		return 0
	}
	return next
}

// respBulk is respNumber for the length of a bulk string at buf[pos:].
func respBulk(buf []byte, pos, limit int) (length, start int, err error) {
	switch {
	case pos >= len(buf):
		return 0, 0, nil
	case buf[pos] != '$':
		return 0, 0, badRESP(buf, pos, "'$'")
	}
	return respNumber(buf, pos+1, limit, false)
}

// respNumber parses a number and the CR LF after it, as Redis does: no plus sign, and no zero
// before other digits. A negative one is 0. next is the position after it, 0 if it is incomplete.
func respNumber(buf []byte, pos, limit int, signed bool) (v, next int, err error) {
	if pos+2 < len(buf) && buf[pos+1] == '\r' && buf[pos+2] == '\n' { // most numbers have one digit
		if d := int(buf[pos]) - '0'; d >= 0 && d <= min(limit, 9) {
			return d, pos + 3, nil
		}
	}
	negative := signed && pos < len(buf) && buf[pos] == '-'
	if negative {
		pos++
		limit = math.MaxInt32
	}
	sum := int64(0)
	for i := pos; i < len(buf); i++ {
		b := buf[i]
		switch {
		case b == '\r' && i > pos:
			if i+1 == len(buf) {
				return 0, 0, nil
			}
			if buf[i+1] != '\n' {
				return 0, 0, badRESP(buf, i+1, "LF")
			}
			if negative {
				sum = 0
			}
			return int(sum), i + 2, nil
		case b < '0' || b > '9' || i == pos && b == '0' && negative || i == pos+1 && buf[pos] == '0':
			return 0, 0, badRESP(buf, i, "a number and CR LF")
		}
		if sum = sum*10 + int64(b-'0'); sum > int64(limit) {
			return 0, 0, fmt.Errorf("%w: a number that begins with %s in a RESP command, the limit is %d", ErrFrameTooLarge, buf[pos:i+1], limit)
		}
	}
	return 0, 0, nil
}

func badRESP(buf []byte, pos int, want string) error {
	return fmt.Errorf("%w: byte %d of a RESP command is %q, want %s", ErrBadInput, pos, buf[pos], want)
}

// decodeInline returns the first line.
func (c RESPCommands) decodeInline(buf []byte) (frame []byte, n, need int, err error) {
	limit := min(maxFrame(c.Max), maxInline)
	window := buf[:min(len(buf), limit)]
	n = bytes.IndexByte(window, '\n') + 1
	if n > 0 {
		window = window[:n]
	}
	switch {
	case bytes.IndexByte(window, 0) >= 0:
		return nil, 0, 0, badRESP(buf, bytes.IndexByte(window, 0), "no NUL in a line")
	case n == 0 && len(buf) >= limit:
		return nil, 0, 0, fmt.Errorf("%w: a RESP line of more than %d bytes", ErrFrameTooLarge, limit)
	case n == 0:
		return nil, 0, 0, nil
	case isHTTP(window):
		return nil, 0, 0, fmt.Errorf("%w: an HTTP request, want a RESP command", ErrBadInput)
	}
	return buf[:n:n], n, 0, nil
}

// isHTTP reports whether Redis takes a line for a part of an HTTP request.
func isHTTP(line []byte) bool {
	for _, word := range []string{"post", "host:"} {
		if len(line) > len(word) && respSpace(line[len(word)]) && strings.EqualFold(string(line[:len(word)]), word) {
			return true
		}
	}
	return false
}

// Append appends a whole command.
func (c RESPCommands) Append(dst, frame []byte) ([]byte, error) {
	_, n, _, err := c.Decode(frame)
	return appendWhole(dst, frame, n, err)
}

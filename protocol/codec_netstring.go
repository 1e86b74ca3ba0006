package protocol

import (
	"fmt"
	"strconv"
)

// Netstrings are frames with their length as a decimal number before them, as in "5:hello,".
//
// Source: https://cr.yp.to/proto/netstrings.txt, D. J. Bernstein, 1997.
type Netstrings struct {
	// Max is the longest frame in bytes. 0 is 256 KiB; transport.NoLimit, or any negative value, is
	// 2 GiB.
	Max int
}

// Decode returns the first frame, without its length and comma.
func (c Netstrings) Decode(buf []byte) (frame []byte, n, need int, err error) {
	limit := maxFrame(c.Max)
	length, size := 0, 0
	for ; ; size++ {
		if size == len(buf) {
			return nil, 0, size + 1, nil
		}
		b := buf[size]
		if b == ':' && size > 0 {
			break
		}
		if b < '0' || b > '9' || size == 1 && buf[0] == '0' {
			return nil, 0, 0, fmt.Errorf("%w: byte %d of a netstring is %q, want a length and a colon", ErrBadInput, size, b)
		}
		if int64(length)*10+int64(b-'0') > int64(limit) {
			return nil, 0, 0, fmt.Errorf("%w: a netstring whose length begins with %s, the limit is %d bytes", ErrFrameTooLarge, buf[:size+1], limit)
		}
		length = length*10 + int(b-'0')
	}
	start := size + 1
	end := start + length
	switch {
	case len(buf) <= end:
		return nil, 0, end + 1, nil
	case buf[end] != ',':
		return nil, 0, 0, fmt.Errorf("%w: a netstring of %d bytes ends with %q, want a comma", ErrBadInput, length, buf[end])
	}
	return buf[start:end:end], end + 1, 0, nil
}

// Append appends the frame as a netstring.
func (c Netstrings) Append(dst, frame []byte) ([]byte, error) {
	if len(frame) > maxFrame(c.Max) {
		return dst, tooLarge(frame, c.Max)
	}
	dst = append(strconv.AppendInt(dst, int64(len(frame)), 10), ':')
	return append(append(dst, frame...), ','), nil
}

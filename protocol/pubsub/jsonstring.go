package pubsub

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// nextRune decodes the first character of the content of a JSON string, which is valid. An unpaired
// surrogate is decoded as utf8.RuneError with paired false.
func nextRune(b []byte) (r rune, n int, paired bool) {
	if b[0] != '\\' {
		r, n = utf8.DecodeRune(b)
		return r, n, true
	}
	if b[1] != 'u' {
		if i := strings.IndexByte("bfnrt", b[1]); i >= 0 {
			return rune("\b\f\n\r\t"[i]), 2, true
		}
		return rune(b[1]), 2, true
	}
	r = hexRune(b[2:6])
	if !utf16.IsSurrogate(r) {
		return r, 6, true
	}
	if len(b) >= 12 && b[6] == '\\' && b[7] == 'u' {
		if pair := utf16.DecodeRune(r, hexRune(b[8:12])); pair != utf8.RuneError {
			return pair, 12, true
		}
	}
	return utf8.RuneError, 6, false
}

func hexRune(b []byte) rune {
	n, _ := strconv.ParseUint(string(b), 16, 16)
	return rune(n)
}

// unquote returns the content of a JSON string, given without its quotes. paired is false if it has
// an unpaired surrogate, which is returned as U+FFFD.
func unquote(b []byte) (s string, paired bool) {
	paired = true
	var decoded strings.Builder
	for len(b) > 0 {
		i := 0
		for i < len(b) && b[i] != '\\' {
			i++
		}
		decoded.Write(b[:i])
		if b = b[i:]; len(b) == 0 {
			break
		}
		r, n, ok := nextRune(b)
		paired = paired && ok
		decoded.WriteRune(r)
		b = b[n:]
	}
	return decoded.String(), paired
}

// foldsTo reports whether a key, given without its quotes, is name except for case. Decoders such
// as encoding/json take such a key for name.
func foldsTo(key []byte, name string) bool {
	if len(key) < len(name) {
		return false
	}
	if c := key[0]; c < utf8.RuneSelf && c != '\\' && c|0x20 != name[0] {
		return false // most keys
	}
	var b [64]byte
	decoded := b[:0]
	for runes := 0; len(key) > 0; runes++ {
		if runes == len(name) {
			return false
		}
		r, n, _ := nextRune(key)
		decoded = utf8.AppendRune(decoded, r)
		key = key[n:]
	}
	return strings.EqualFold(string(decoded), name)
}

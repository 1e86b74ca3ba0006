package shell

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// What is quoted comes back as it was, and what is no command line is refused without a panic.
func FuzzWords(f *testing.F) {
	for _, s := range []string{"", "a b", `'a b' "c\"d" e\ f`, `"x`, `\`, `a'b'"c"`, "name:a:b", "\t x", `""`, "--a=b -- c", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l := split(s)
		l.args()
		b := trimBlanks([]byte(s))
		if got := string(b[:nameEnd(b)]); got != l.name {
			t.Errorf("the name is %q and %q", got, l.name)
		}
		if at := lastWord(s); at > len(s) {
			t.Errorf("the last word of %q begins at %d", s, at)
		}
		if got, err := words(quote(s)); err != nil || !slices.Equal(got, []string{s}) {
			t.Errorf("%q quoted is %q, which is %q, %v", s, quote(s), got, err)
		}
	})
}

// However a stream is cut, the same lines come out of it, and no more is kept than may be.
func FuzzCodec(f *testing.F) {
	for _, s := range []string{"a\nb\r\n", "\xff\xfb\x01x\n", "x\x03y\n", "\xff\xfa\x18\n\xff\xff\xff\xf0z\n", "\xff\xff\n", "a\xff\xf4b\xff\xfd\x06\n", "\r\x00\n", "\xff", "123456789\n", strings.Repeat("0", 103) + "\x03"} {
		f.Add([]byte(s), uint8(1))
		f.Add([]byte(s), uint8(200))
	}
	f.Fuzz(func(t *testing.T, stream []byte, step uint8) {
		whole, cut := frames(t, stream, len(stream)+1), frames(t, stream, int(step)+1)
		if !slices.Equal(whole, cut) {
			t.Errorf("at once %q, in pieces %q", whole, cut)
		}
	})
}

// frames decodes a stream of which step bytes come at a time, up to a line that is too long.
func frames(t *testing.T, stream []byte, step int) (all []string) {
	c := codec{100}
	var buf []byte
	for len(stream) > 0 {
		n := min(step, len(stream))
		buf, stream = append(buf, stream[:n]...), stream[n:]
		for len(buf) > 0 {
			frame, took, _, err := c.Decode(buf)
			if err != nil || took > len(buf) {
				t.Fatalf("took %d of %d, %v", took, len(buf), err)
			}
			if isTooLong(frame) {
				return nil // where a piece ends decides how much was before it
			}
			if took == 0 {
				break
			}
			got := filter(bytes.Clone(frame))
			if bytes.ContainsAny(got.line, "\r\n\x03") || len(got.line) > 102 && !got.interrupt {
				t.Errorf("%q is left of %q", got.line, frame)
			}
			all = append(all, string(frame))
			buf = buf[took:]
		}
		if len(buf) > 101 {
			t.Fatalf("%d bytes are kept", len(buf))
		}
	}
	return all
}

func FuzzJSON(f *testing.F) {
	f.Add("a\"\\\n\x7f\xff\u2028")
	f.Fuzz(func(t *testing.T, s string) {
		b := appendString(nil, s)
		var got, want string
		j, _ := json.Marshal(s)
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		if json.Unmarshal(j, &want); got != want {
			t.Errorf("%q comes back as %q", want, got)
		}
		if bytes.IndexByte(b, '\n') >= 0 {
			t.Errorf("%q has a line feed", b)
		}
	})
}

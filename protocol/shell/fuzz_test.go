package shell

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// words returns what quote has quoted, and returns an error, without a panic, for invalid lines.
func FuzzWords(f *testing.F) {
	for _, s := range []string{"", "a b", `'a b' "c\"d" e\ f`, `"x`, `\`, `a'b'"c"`, "name:a:b", "\t x", `""`, "--a=b -- c", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l := split(s)
		l.args()
		b := trimBlanks([]byte(s))
		if got := string(b[:nameEnd(b)]); got != l.name {
			t.Errorf("nameEnd: got name %q, want %q as from split", got, l.name)
		}
		if at := lastWord(s); at > len(s) {
			t.Errorf("lastWord(%q): got %d, want at most %d", s, at, len(s))
		}
		if got, err := words(quote(s)); err != nil || !slices.Equal(got, []string{s}) {
			t.Errorf("words(%q): got %q and error %v, want %q", quote(s), got, err, s)
		}
	})
}

// The frames do not depend on how the stream is divided into reads, and buffering is bounded.
func FuzzCodec(f *testing.F) {
	for _, s := range []string{"a\nb\r\n", "\xff\xfb\x01x\n", "x\x03y\n", "\xff\xfa\x18\n\xff\xff\xff\xf0z\n", "\xff\xff\n", "a\xff\xf4b\xff\xfd\x06\n", "\r\x00\n", "\xff", "123456789\n", strings.Repeat("0", 103) + "\x03"} {
		f.Add([]byte(s), uint8(1))
		f.Add([]byte(s), uint8(200))
	}
	f.Fuzz(func(t *testing.T, stream []byte, step uint8) {
		want, got := frames(t, stream, len(stream)+1), frames(t, stream, int(step)+1)
		if !slices.Equal(want, got) {
			t.Errorf("in pieces: got %q, want %q", got, want)
		}
	})
}

// frames decodes a stream in reads of step bytes. It returns nil if a line is too long.
func frames(t *testing.T, stream []byte, step int) (all []string) {
	c := codec{100}
	var buf []byte
	for len(stream) > 0 {
		n := min(step, len(stream))
		buf, stream = append(buf, stream[:n]...), stream[n:]
		for len(buf) > 0 {
			frame, took, _, err := c.Decode(buf)
			if err != nil || took > len(buf) {
				t.Fatalf("Decode: got %d bytes and error %v, want at most %d and none", took, err, len(buf))
			}
			if isTooLong(frame) {
				return nil // the number of frames before it depends on the reads
			}
			if took == 0 {
				break
			}
			got := filter(bytes.Clone(frame))
			if bytes.ContainsAny(got.line, "\r\n\x03") || len(got.line) > 102 && !got.interrupt {
				t.Errorf("filter(%q): got %q, want a line within the limit without control bytes", frame, got.line)
			}
			all = append(all, string(frame))
			buf = buf[took:]
		}
		if len(buf) > 101 {
			t.Fatalf("got %d bytes buffered, want at most 101", len(buf))
		}
	}
	return all
}

// appendString agrees with encoding/json and returns one line.
func FuzzJSON(f *testing.F) {
	f.Add("a\"\\\n\x7f\xff\u2028")
	f.Fuzz(func(t *testing.T, s string) {
		b := appendString(nil, s)
		var got, want string
		j, _ := json.Marshal(s)
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatalf("%q: got error %v, want valid JSON", b, err)
		}
		if json.Unmarshal(j, &want); got != want {
			t.Errorf("decoded: got %q, want %q", got, want)
		}
		if bytes.IndexByte(b, '\n') >= 0 {
			t.Errorf("got %q, want no line feed", b)
		}
	})
}

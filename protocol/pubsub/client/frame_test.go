package client

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestFits(t *testing.T) {
	for _, tt := range []struct {
		pattern, topic string
		want           bool
	}{
		{"a.*", "a.b", true}, {"a.*", "a", false}, {"a.*", "a.b.c", false}, {"*", "a", true}, {"*", "a.b", false},
		{"*.b", "a.b", true}, {"a.>", "a", false}, {"a.>", "a.b", true}, {"a.>", "a.b.c", true}, {">", "a.b", true},
		{"a.*.c", "a.b.c", true}, {"a.*.c", "a.b.d", false}, {"*.*", "a.b", true}, {"*.>", "a", false},
	} {
		if got := fits(tt.pattern, tt.topic); got != tt.want || !isPattern(tt.pattern) {
			t.Errorf("fits(%q, %q) = %v", tt.pattern, tt.topic, got)
		}
	}
	for _, name := range []string{"a", "a.b", "a*", "a.>.b", ">a", ""} {
		if isPattern(name) {
			t.Errorf("%q is taken for a pattern", name)
		}
	}
}

// However a stream is cut, its frames are those between the ends, up to the first that is too long.
func FuzzReadFrame(f *testing.F) {
	f.Add([]byte("ACK\x01PING\x01"), 10)
	f.Add([]byte("\x01\x01x"), 3)
	f.Add([]byte(strings.Repeat("x", 40)+"\x01"+strings.Repeat("y", 41)+"\x01"), 40)
	f.Add([]byte(`{"timestamp":[1,2,3],"topic":"a","data":[1,{}]}`+"\x01"), 100)
	f.Fuzz(func(t *testing.T, stream []byte, most int) {
		most = min(max(most, 0), 1<<16)
		parts := bytes.Split(stream, []byte{serverEnd})
		for _, r := range []io.Reader{bytes.NewReader(stream), iotest.OneByteReader(bytes.NewReader(stream))} {
			br := bufio.NewReaderSize(r, 16)
			for i := 0; ; i++ {
				got, err := readFrame(br, most)
				if len(parts[i]) > most {
					if err == nil {
						t.Fatalf("frame %d of %d bytes is taken, %d are allowed", i, len(parts[i]), most)
					}
					break
				}
				if i == len(parts)-1 {
					if err != io.EOF {
						t.Fatalf("at the end: %q, %v", got, err)
					}
					break
				}
				if err != nil || !bytes.Equal(got, parts[i]) {
					t.Fatalf("frame %d: %q, %v, want %q", i, got, err, parts[i])
				}
				var s stamped
				if isStamped(got) && parse(got, &s) == nil && s.Topic != nil {
					s.message()
				}
			}
		}
	})
}

package client

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// A stream has the same frames however it is split, up to the first one that is too large.
func FuzzReadFrame(f *testing.F) {
	f.Add([]byte("ACK\x01PING\x01"), 10)
	f.Add([]byte("\x01\x01x"), 3)
	f.Add([]byte(strings.Repeat("x", 40)+"\x01"+strings.Repeat("y", 41)+"\x01"), 40)
	f.Add([]byte(`{"timestamp":[1,2,3],"topic":"a","data":[1,{}]}`+"\x01"), 100)
	f.Fuzz(func(t *testing.T, stream []byte, maxLen int) {
		maxLen = min(max(maxLen, 0), 1<<16)
		parts := bytes.Split(stream, []byte{serverEnd})
		for _, r := range []io.Reader{bytes.NewReader(stream), iotest.OneByteReader(bytes.NewReader(stream))} {
			br := bufio.NewReaderSize(r, 16)
			for i := 0; ; i++ {
				got, err := readFrame(br, maxLen)
				if len(parts[i]) > maxLen {
					if err == nil {
						t.Fatalf("frame %d of %d bytes: got no error, want one above %d bytes", i, len(parts[i]), maxLen)
					}
					break
				}
				if i == len(parts)-1 {
					if err != io.EOF {
						t.Fatalf("at the end: got %q, %v, want %v", got, err, io.EOF)
					}
					break
				}
				if err != nil || !bytes.Equal(got, parts[i]) {
					t.Fatalf("frame %d: got %q, %v, want %q", i, got, err, parts[i])
				}
				var f stampedFrame
				if isStamped(got) && parseFrame(got, &f) == nil && f.Topic != nil {
					f.message()
				}
			}
		}
	})
}

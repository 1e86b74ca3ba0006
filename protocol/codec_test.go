package protocol_test

import (
	"bytes"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"goranch/protocol"
)

var codecs = map[string]protocol.Codec{
	"length":      protocol.LengthPrefix{},
	"length 1":    protocol.LengthPrefix{Size: 1},
	"length 2":    protocol.LengthPrefix{Size: 2, LittleEndian: true},
	"inclusive":   protocol.LengthPrefix{Inclusive: true},
	"inclusive 1": protocol.LengthPrefix{Size: 1, Inclusive: true},
	"unlimited":   protocol.LengthPrefix{Max: -1},
	"varint":      protocol.VarintPrefix{Max: 1000},
	"crlf":        protocol.Delimited{By: "\r\n"},
	"aa":          protocol.Delimited{By: "aa", Max: math.MaxInt},
	"lines":       protocol.Lines{Max: 100},
	"long lines":  protocol.Lines{Max: math.MaxInt},
}

func TestDecode(t *testing.T) {
	type result struct {
		Frame      string
		Took, Need int
		TooLarge   bool
		BadInput   bool
	}
	bad := result{BadInput: true}
	large := result{TooLarge: true, BadInput: true}
	x := strings.Repeat("x", 100)
	for _, c := range []struct {
		name  string
		codec protocol.Codec
		in    string
		want  result
	}{
		{"raw", protocol.Raw{}, "abc", result{Frame: "abc", Took: 3}},
		{"nothing yet", protocol.LengthPrefix{}, "", result{Need: 4}},
		{"half a length", protocol.LengthPrefix{}, "\x00\x00", result{Need: 4}},
		{"half a frame", protocol.LengthPrefix{}, "\x00\x00\x00\x03ab", result{Need: 7}},
		{"a frame and more", protocol.LengthPrefix{}, "\x00\x00\x00\x02abc", result{Frame: "ab", Took: 6}},
		{"empty", protocol.LengthPrefix{}, "\x00\x00\x00\x00", result{Took: 4}},
		{"4 GiB announced", protocol.LengthPrefix{}, "\xff\xff\xff\xff", large},
		{"4 GiB announced, no limit", protocol.LengthPrefix{Max: -1}, "\xff\xff\xff\xff", large},
		{"256 KiB announced", protocol.LengthPrefix{}, "\x00\x04\x00\x00", result{Need: 256<<10 + 4}},
		{"a byte more", protocol.LengthPrefix{}, "\x00\x04\x00\x01", large},
		{"little endian", protocol.LengthPrefix{Size: 2, LittleEndian: true}, "\x02\x00abc", result{Frame: "ab", Took: 4}},
		{"inclusive", protocol.LengthPrefix{Size: 1, Inclusive: true}, "\x03abc", result{Frame: "ab", Took: 3}},
		{"inclusive, negative", protocol.LengthPrefix{Inclusive: true}, "\x00\x00\x00\x03", bad},
		{"a varint", protocol.VarintPrefix{}, "\x80\x01" + x, result{Need: 130}},
		{"half a varint", protocol.VarintPrefix{}, "\x80", result{Need: 2}},
		{"a varint too large", protocol.VarintPrefix{Max: 127}, "\x80\x01", large},
		{"a varint without end", protocol.VarintPrefix{}, strings.Repeat("\xff", 11), large},
		{"a delimiter at the limit", protocol.Delimited{By: "--", Max: 3}, "abc--", result{Frame: "abc", Took: 5}},
		{"a delimiter beyond it", protocol.Delimited{By: "--", Max: 3}, "abcd--", large},
		{"half a delimiter", protocol.Delimited{By: "--", Max: 3}, "abc-", result{}},
		{"a line at the limit", protocol.Lines{Max: 3}, "abc\n", result{Frame: "abc", Took: 4}},
		{"with carriage return", protocol.Lines{Max: 3}, "abc\r\n", result{Frame: "abc", Took: 5}},
		{"a line beyond it", protocol.Lines{Max: 3}, "abcd\n", large},
		{"beyond, with carriage return", protocol.Lines{Max: 3}, "abcd\r\n", large},
		{"a line without end", protocol.Lines{Max: 3}, "abcdef", large},
	} {
		t.Run(c.name, func(t *testing.T) {
			frame, took, need, err := c.codec.Decode([]byte(c.in))
			got := result{string(frame), took, need, errors.Is(err, protocol.ErrFrameTooLarge), errors.Is(err, protocol.ErrBadInput)}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("%v\n%s", err, d)
			}
		})
	}
}

// What cannot be sent is refused, and dst is as it was.
func TestAppendRefuses(t *testing.T) {
	for _, c := range []struct {
		name  string
		codec protocol.Codec
		frame string
		want  error
	}{
		{"longer than a byte counts", protocol.LengthPrefix{Size: 1}, strings.Repeat("x", 256), protocol.ErrFrameTooLarge},
		{"with itself", protocol.LengthPrefix{Size: 1, Inclusive: true}, strings.Repeat("x", 255), protocol.ErrFrameTooLarge},
		{"longer than allowed", protocol.VarintPrefix{Max: 2}, "abc", protocol.ErrFrameTooLarge},
		{"a line with a line feed", protocol.Lines{}, "a\nb", protocol.ErrBadFrame},
		{"a delimiter half in the frame", protocol.Delimited{By: "aa"}, "ba", protocol.ErrBadFrame},
		{"no delimiter", protocol.Delimited{}, "a", protocol.ErrBadCodec},
		{"a length of 3", protocol.LengthPrefix{Size: 3}, "a", protocol.ErrBadCodec},
	} {
		dst, err := c.codec.Append([]byte("before"), []byte(c.frame))
		if string(dst) != "before" || !errors.Is(err, c.want) {
			t.Errorf("%s: %q, %v", c.name, dst, err)
		}
	}
	for _, c := range []protocol.Codec{protocol.Delimited{}, protocol.LengthPrefix{Size: 3}} {
		if _, _, _, err := c.Decode([]byte("abcdef")); !errors.Is(err, protocol.ErrBadCodec) {
			t.Errorf("%#v: %v", c, err)
		}
		if err := (protocol.Options{Codec: c}).Validate(); !errors.Is(err, protocol.ErrBadCodec) {
			t.Errorf("%#v: %v", c, err)
		}
	}
}

// What can be sent arrives as it was, however it is cut.
func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("hello"), 2)
	f.Add([]byte("ba"), 3)
	f.Add([]byte("a\r"), 1)
	f.Add([]byte{}, 0)
	f.Fuzz(func(t *testing.T, frame []byte, cut int) {
		for name, c := range codecs {
			wire, err := c.Append(nil, frame)
			if err != nil {
				continue
			}
			wire = append(wire, "rest"...)
			if cut >= 0 && cut < len(wire)-4 {
				if got, took, need, err := c.Decode(wire[:cut]); took != 0 || err != nil || need > len(wire)-4 || need > 0 && need <= cut {
					t.Fatalf("%s: cut at %d: %q, %d, %d, %v", name, cut, got, took, need, err)
				}
			}
			got, took, _, err := c.Decode(wire)
			if _, lines := c.(protocol.Lines); lines {
				frame, got = bytes.TrimRight(frame, "\r"), bytes.TrimRight(got, "\r")
			}
			if err != nil || took != len(wire)-4 || !bytes.Equal(got, frame) {
				t.Fatalf("%s: %q, %d of %d, %v", name, got, took, len(wire)-4, err)
			}
		}
	})
}

// No input makes a codec return more than there is, or promise what it has.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{"", "\x00\x00\x00\x03abc", "\xff\xff\xff\xff", "\x00\x00\x00\x01", "abc\r\n", "aaaa", strings.Repeat("\x80", 12), strings.Repeat("x", 200)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		for name, c := range codecs {
			for buf := in; len(buf) > 0; {
				frame, took, need, err := c.Decode(buf)
				switch {
				case err != nil && (frame != nil || took != 0 || need != 0 || !errors.Is(err, protocol.ErrBadInput)):
					t.Fatalf("%s: %q, %d, %d, %v", name, frame, took, need, err)
				case took < 0 || took > len(buf) || len(frame) > took || took == 0 && (len(frame) > 0 || need != 0 && need <= len(buf)):
					t.Fatalf("%s: %q, %d of %d, %d", name, frame, took, len(buf), need)
				}
				if took == 0 {
					break
				}
				buf = buf[took:]
			}
		}
	})
}

// One byte at a time, a million empty frames, and a stream that breaks off.
func TestFramesAtTheEdge(t *testing.T) {
	for _, c := range []struct {
		name, in string
		frames   int
		err      error
	}{
		{"empty frames", strings.Repeat("\x00\x00\x00\x00", 1_000_000), 1_000_000, io.EOF},
		{"half a frame", "\x00\x00\x00\x01a\x00\x00\x00\x05abc", 1, io.ErrUnexpectedEOF},
		{"half a length", "\x00\x00", 0, io.ErrUnexpectedEOF},
		{"too long", "\xff\xff\xff\xffa", 0, protocol.ErrFrameTooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			frames, ended := 0, make(chan error, 1)
			s := serve(t, one(&script{
				data:  func(*protocol.Peer, []byte) protocol.Action { frames++; return protocol.Continue() },
				close: func(_ *protocol.Peer, err error) { ended <- err },
			}), protocol.Options{Codec: protocol.LengthPrefix{}})
			nc := s.dial(t)
			io.WriteString(nc, c.in)
			nc.(interface{ CloseWrite() error }).CloseWrite()
			if err := <-ended; !errors.Is(err, c.err) || frames != c.frames {
				t.Errorf("%d frames, %v", frames, err)
			}
		})
	}
}

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
	"mqtt":        protocol.MQTTPackets{Max: 200},
	"pkt-lines":   protocol.PktLines{},
	"short pkts":  protocol.PktLines{Max: 100},
	"resp":        protocol.RESPCommands{},
	"small resp":  protocol.RESPCommands{Max: 100, MaxArgs: 4, MaxBulk: 20},
	"netstrings":  protocol.Netstrings{Max: 1000},
}

func TestDecode(t *testing.T) {
	type result struct {
		Frame    string
		N, Need  int
		TooLarge bool
		BadInput bool
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
		{"raw", protocol.Raw{}, "abc", result{Frame: "abc", N: 3}},
		{"no input", protocol.LengthPrefix{}, "", result{Need: 4}},
		{"half a length", protocol.LengthPrefix{}, "\x00\x00", result{Need: 4}},
		{"half a frame", protocol.LengthPrefix{}, "\x00\x00\x00\x03ab", result{Need: 7}},
		{"a frame and more", protocol.LengthPrefix{}, "\x00\x00\x00\x02abc", result{Frame: "ab", N: 6}},
		{"empty", protocol.LengthPrefix{}, "\x00\x00\x00\x00", result{N: 4}},
		{"length 4 GiB", protocol.LengthPrefix{}, "\xff\xff\xff\xff", large},
		{"length 4 GiB, no limit", protocol.LengthPrefix{Max: -1}, "\xff\xff\xff\xff", large},
		{"length 256 KiB", protocol.LengthPrefix{}, "\x00\x04\x00\x00", result{Need: 256<<10 + 4}},
		{"length 256 KiB and a byte", protocol.LengthPrefix{}, "\x00\x04\x00\x01", large},
		{"little endian", protocol.LengthPrefix{Size: 2, LittleEndian: true}, "\x02\x00abc", result{Frame: "ab", N: 4}},
		{"inclusive", protocol.LengthPrefix{Size: 1, Inclusive: true}, "\x03abc", result{Frame: "ab", N: 3}},
		{"inclusive, negative", protocol.LengthPrefix{Inclusive: true}, "\x00\x00\x00\x03", bad},
		{"a varint", protocol.VarintPrefix{}, "\x80\x01" + x, result{Need: 130}},
		{"half a varint", protocol.VarintPrefix{}, "\x80", result{Need: 2}},
		{"a varint too large", protocol.VarintPrefix{Max: 127}, "\x80\x01", large},
		{"a varint without end", protocol.VarintPrefix{}, strings.Repeat("\xff", 11), large},
		{"a delimiter at the limit", protocol.Delimited{By: "--", Max: 3}, "abc--", result{Frame: "abc", N: 5}},
		{"a delimiter beyond the limit", protocol.Delimited{By: "--", Max: 3}, "abcd--", large},
		{"half a delimiter", protocol.Delimited{By: "--", Max: 3}, "abc-", result{}},
		{"a line at the limit", protocol.Lines{Max: 3}, "abc\n", result{Frame: "abc", N: 4}},
		{"with carriage return", protocol.Lines{Max: 3}, "abc\r\n", result{Frame: "abc", N: 5}},
		{"a line beyond the limit", protocol.Lines{Max: 3}, "abcd\n", large},
		{"a line beyond the limit, with carriage return", protocol.Lines{Max: 3}, "abcd\r\n", large},
		{"a line without end", protocol.Lines{Max: 3}, "abcdef", large},
		{"an MQTT packet", protocol.MQTTPackets{}, "\x30\x04\x00\x01abc", result{Frame: "\x30\x04\x00\x01ab", N: 6}},
		{"an MQTT packet without more", protocol.MQTTPackets{}, "\xc0\x00", result{Frame: "\xc0\x00", N: 2}},
		{"an MQTT type", protocol.MQTTPackets{}, "\x10", result{Need: 2}},
		{"an MQTT length of 4 bytes", protocol.MQTTPackets{Max: -1}, "\x30\xff\xff\xff\x7f", result{Need: 1<<28 + 4}},
		{"an MQTT packet of 256 KiB", protocol.MQTTPackets{}, "\x30\xfc\xff\x0f", result{Need: 256 << 10}},
		{"an MQTT packet of 256 KiB and a byte", protocol.MQTTPackets{}, "\x30\xfd\xff\x0f", large},
		{"a pkt-line", protocol.PktLines{}, "0006a\n0000", result{Frame: "0006a\n", N: 6}},
		{"an empty pkt-line", protocol.PktLines{}, "0004", result{Frame: "0004", N: 4}},
		{"a flush-pkt", protocol.PktLines{}, "00000006a\n", result{Frame: protocol.PktFlush, N: 4}},
		{"a delim-pkt", protocol.PktLines{}, "0001", result{Frame: protocol.PktDelim, N: 4}},
		{"a response-end-pkt", protocol.PktLines{}, "0002", result{Frame: protocol.PktResponseEnd, N: 4}},
		{"the longest pkt-line", protocol.PktLines{}, "FfF0", result{Need: 65520}},
		{"a pkt-line too long", protocol.PktLines{}, "fff1", large},
		{"a pkt-line beyond the limit", protocol.PktLines{Max: 5}, "0006", large},
		{"a netstring", protocol.Netstrings{}, "5:hello,1:", result{Frame: "hello", N: 8}},
		{"an empty netstring", protocol.Netstrings{}, "0:,", result{N: 3}},
		{"half a netstring", protocol.Netstrings{}, "12:hello", result{Need: 16}},
		{"a netstring too long", protocol.Netstrings{Max: 99}, "100", large},
		{"a length of 30 digits", protocol.Netstrings{Max: -1}, "999999999999999999999999999999", large},
		{"a RESP command", protocol.RESPCommands{}, "*2\r\n$3\r\nGET\r\n$0\r\n\r\n*1", result{Frame: "*2\r\n$3\r\nGET\r\n$0\r\n\r\n", N: 19}},
		{"no RESP command", protocol.RESPCommands{}, "*0\r\n", result{Frame: "*0\r\n", N: 4}},
		{"a negative RESP array", protocol.RESPCommands{}, "*-1\r\nx", result{Frame: "*-1\r\n", N: 5}},
		{"an inline RESP command", protocol.RESPCommands{}, "PING\r\nPING", result{Frame: "PING\r\n", N: 6}},
		{"an empty RESP line", protocol.RESPCommands{}, "\n", result{Frame: "\n", N: 1}},
		{"half a RESP line", protocol.RESPCommands{}, "PING", result{}},
		{"half a RESP array", protocol.RESPCommands{}, "*2\r\n$3\r\nGET", result{Need: 12}},
		{"a RESP array of too many", protocol.RESPCommands{MaxArgs: 4}, "*5", large},
		{"a RESP array of more than fit", protocol.RESPCommands{}, "*43691", large},
		{"a RESP array of a million", protocol.RESPCommands{Max: -1}, "*1048576\r\n", result{}},
		{"a RESP argument too long", protocol.RESPCommands{MaxBulk: 9}, "*1\r\n$10", large},
		{"a RESP command too long", protocol.RESPCommands{Max: 20}, "*1\r\n$20\r\n", large},
		{"a RESP command too long with the others", protocol.RESPCommands{Max: 20}, "*2\r\n$9\r\n", large},
		{"a RESP line too long", protocol.RESPCommands{}, strings.Repeat("x", 64<<10), large},
	} {
		t.Run(c.name, func(t *testing.T) {
			frame, n, need, err := c.codec.Decode([]byte(c.in))
			got := result{string(frame), n, need, errors.Is(err, protocol.ErrFrameTooLarge), errors.Is(err, protocol.ErrBadInput)}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("error %v; (-want +got)\n%s", err, d)
			}
		})
	}
}

// Append refuses frames that cannot be sent, and returns dst unchanged.
func TestAppendRefuses(t *testing.T) {
	for _, c := range []struct {
		name  string
		codec protocol.Codec
		frame string
		want  string
	}{
		{"longer than a byte can express", protocol.LengthPrefix{Size: 1}, strings.Repeat("x", 256), "frame too large"},
		{"inclusive length", protocol.LengthPrefix{Size: 1, Inclusive: true}, strings.Repeat("x", 255), "frame too large"},
		{"longer than Max", protocol.VarintPrefix{Max: 2}, "abc", "frame too large"},
		{"a line with a line feed", protocol.Lines{}, "a\nb", "bad frame"},
		{"a delimiter across the end of the frame", protocol.Delimited{By: "aa"}, "ba", "bad frame"},
		{"no delimiter", protocol.Delimited{}, "a", "option Delimited.By of 0 bytes: allowed are 1 to 1024 bytes"},
		{"half an MQTT packet", protocol.MQTTPackets{}, "\x30\x02a", "3 bytes are not a whole frame"},
		{"two pkt-lines", protocol.PktLines{}, "00000000", "the first 4 of 8 bytes"},
		{"a payload without digits", protocol.PktLines{}, "hello", "bad frame"},
		{"an answer of RESP", protocol.RESPCommands{}, "*1\r\n:1\r\n", "bad frame"},
		{"a RESP command longer than Max", protocol.RESPCommands{Max: 20}, "*1\r\n$20\r\n", "cannot send: bad input: frame too large"},
		{"a netstring longer than Max", protocol.Netstrings{Max: 2}, "abc", "frame too large"},
		{"a length of 3", protocol.LengthPrefix{Size: 3}, "a", "option LengthPrefix.Size 3: allowed are 1, 2, 4, and 0 for 4"},
	} {
		dst, err := c.codec.Append([]byte("before"), []byte(c.frame))
		if string(dst) != "before" || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %q, %v, want an error with %q", c.name, dst, err, c.want)
		}
	}
	if err := (protocol.Options{Codec: protocol.RESPCommands{MaxArgs: -1, MaxBulk: -1}}).Validate(); err == nil || strings.Count(err.Error(), "RESPCommands.Max") != 2 {
		t.Errorf("Validate of negative limits: got %v, want two faults", err)
	}
	for _, c := range []protocol.Codec{protocol.Delimited{}, protocol.LengthPrefix{Size: 3}} {
		if _, _, _, err := c.Decode([]byte("abcdef")); err == nil {
			t.Errorf("Decode of %#v: got no error, want one", c)
		}
		if err := (protocol.Options{Codec: c}).Validate(); err == nil {
			t.Errorf("Validate of %#v: got no error, want one", c)
		}
	}
}

// Decode returns what Append encoded, and needs all of it.
func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("hello"), 2)
	f.Add([]byte("ba"), 3)
	f.Add([]byte("a\r"), 1)
	f.Add([]byte{}, 0)
	f.Add([]byte("\x30\x03a/b"), 3)
	f.Add([]byte("0008abcd"), 5)
	f.Add([]byte("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"), 9)
	f.Fuzz(func(t *testing.T, frame []byte, cut int) {
		for name, c := range codecs {
			wire, err := c.Append(nil, frame)
			if err != nil {
				continue
			}
			wire = append(wire, "rest"...)
			if cut >= 0 && cut < len(wire)-4 {
				if got, n, need, err := c.Decode(wire[:cut]); n != 0 || err != nil || need > len(wire)-4 || need > 0 && need <= cut {
					t.Fatalf("%s: Decode of the first %d bytes of %d: got %q, %d, %d, %v, want an incomplete frame", name, cut, len(wire)-4, got, n, need, err)
				}
			}
			got, n, _, err := c.Decode(wire)
			if _, lines := c.(protocol.Lines); lines {
				frame, got = bytes.TrimRight(frame, "\r"), bytes.TrimRight(got, "\r")
			}
			if err != nil || n != len(wire)-4 || !bytes.Equal(got, frame) {
				t.Fatalf("%s: got %q, %d, %v, want %q, %d", name, got, n, err, frame, len(wire)-4)
			}
		}
	})
}

// For any input, the results of Decode are consistent with its length, and wherever the input is
// divided, the frames are the same.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		"", "\x00\x00\x00\x03abc", "\xff\xff\xff\xff", "\x00\x00\x00\x01", "abc\r\n", "aaaa", strings.Repeat("\x80", 12), strings.Repeat("x", 200),
		"\x10\x02\x00\x04\xc0\x00\x32\x05\x00\x01a\x00\x07", "\x30\xff\xff\xff\xff\x01", "0006a\n0000000100020004", "000g", "5:hello,0:,01:a,",
		"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*0\r\nPING\r\n", "*1\r\n*1\r\n", "*-1\r\n*1\r\n$-1\r\n", "*3\r\n$1\r\na\r\nb", "POST / HTTP/1.1\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		for name, c := range codecs {
			for buf := in; len(buf) > 0; {
				frame, n, need, err := c.Decode(buf)
				switch {
				case err != nil && (frame != nil || n != 0 || need != 0 || !errors.Is(err, protocol.ErrBadInput)):
					t.Fatalf("%s: got %q, %d, %d, %v, want ErrBadInput only", name, frame, n, need, err)
				case n < 0 || n > len(buf) || len(frame) > n || n == 0 && (len(frame) > 0 || need != 0 && need <= len(buf)):
					t.Fatalf("%s: got %q, %d, %d, want what fits in %d bytes", name, frame, n, need, len(buf))
				}
				if len(buf) <= 200 {
					checkPrefixes(t, name, c, buf, n, err)
				}
				if n == 0 {
					break
				}
				buf = buf[n:]
			}
		}
	})
}

// checkPrefixes checks what Decode returns for each beginning of buf, of which it has returned n
// and err.
func checkPrefixes(t *testing.T, name string, c protocol.Codec, buf []byte, n int, err error) {
	t.Helper()
	failed := false
	for k := 1; k < len(buf); k++ {
		_, kn, need, kerr := c.Decode(buf[:k])
		failed = failed || kerr != nil
		switch {
		case failed && (kerr == nil || err == nil), kn != n && n <= k && err == nil, kn != 0 && kn != n, n > 0 && need > n:
			t.Fatalf("%s: the first %d bytes of %q: got %d, %d, %v; all of them: got %d, %v", name, k, buf, kn, need, kerr, n, err)
		}
	}
}

// A million empty frames, and streams that end within a frame.
func TestUnusualStreams(t *testing.T) {
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
			s := newTestServer(t, shared(&script{
				data:  func(*protocol.Peer, []byte) protocol.Action { frames++; return protocol.Continue() },
				close: func(_ *protocol.Peer, err error) { ended <- err },
			}), protocol.Options{Codec: protocol.LengthPrefix{}})
			nc := s.dial(t)
			io.WriteString(nc, c.in)
			nc.(interface{ CloseWrite() error }).CloseWrite()
			if err := <-ended; !errors.Is(err, c.err) || frames != c.frames {
				t.Errorf("got %d frames and %v, want %d and %v", frames, err, c.frames, c.err)
			}
		})
	}
}

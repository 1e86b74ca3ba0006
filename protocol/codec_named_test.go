package protocol_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"goranch/conns"
	"goranch/protocol"
)

// Bad input is found as soon as its first wrong byte has arrived.
func TestFirstWrongByte(t *testing.T) {
	mqtt, pkt, resp, net := protocol.MQTTPackets{}, protocol.PktLines{}, protocol.RESPCommands{}, protocol.Netstrings{}
	for _, c := range []struct {
		name  string
		codec protocol.Codec
		in    string // the last byte is the wrong one
	}{
		{"MQTT type 0", mqtt, "\x00"}, {"MQTT flags", mqtt, "\x11"}, {"MQTT flags of SUBSCRIBE", mqtt, "\x80"},
		{"MQTT QoS 3", mqtt, "\x36"}, {"MQTT length", mqtt, "\x30\xff\xff\xff\x80"},
		{"pkt-line, no digit", pkt, "g"}, {"pkt-line, fourth digit", pkt, "000 "}, {"pkt-line, length 3", pkt, "0003"},
		{"netstring without length", net, ":"}, {"netstring, negative", net, "-"}, {"netstring, leading zero", net, "00"},
		{"netstring, no colon", net, "3a"}, {"netstring, no comma", net, "3:abcd"}, {"netstring, empty, no comma", net, "0:\n"},
		{"RESP, no number", resp, "*\r"}, {"RESP, plus", resp, "*+"}, {"RESP, leading zero", resp, "*1\r\n$01"}, {"RESP, minus zero", resp, "*-0"},
		{"RESP, no LF", resp, "*1\r\r"}, {"RESP, nested", resp, "*1\r\n*"}, {"RESP, integer", resp, "*1\r\n:"}, {"RESP, null", resp, "*1\r\n$-"},
		{"RESP, bulk without CR", resp, "*1\r\n$3\r\nGETx"}, {"RESP, bulk without LF", resp, "*1\r\n$3\r\nGET\r\r"},
		{"RESP, line with NUL", resp, "PING\x00"}, {"RESP, HTTP", resp, "POST / HTTP/1.1\r\n"}, {"RESP, HTTP header", resp, "host: a\n"},
	} {
		for k := 0; k < len(c.in); k++ {
			if _, n, _, err := c.codec.Decode([]byte(c.in[:k])); n != 0 || err != nil {
				t.Errorf("%s: the first %d bytes of %q: got %d, %v, want an incomplete frame", c.name, k, c.in, n, err)
			}
		}
		_, _, _, err := c.codec.Decode([]byte(c.in))
		if !errors.Is(err, protocol.ErrBadInput) || errors.Is(err, protocol.ErrFrameTooLarge) {
			t.Errorf("%s: %q: got %v, want ErrBadInput", c.name, c.in, err)
		}
	}
}

// decodeBytewise gives in to the codec as a Peer does that receives one byte at a time. It returns
// the number of frames and of bytes that Decode was given.
func decodeBytewise(c protocol.Codec, in []byte) (frames, work int, err error) {
	begin, need := 0, 0
	for end := 1; end <= len(in); end++ {
		if end-begin < need {
			continue
		}
		work += end - begin
		var n int
		if _, n, need, err = c.Decode(in[begin:end]); err != nil {
			return frames, work, err
		}
		if n > 0 {
			begin += n
			frames++
		}
	}
	return frames, work, nil
}

// A large frame that arrives byte by byte is not examined again for each byte.
func TestBytewiseWork(t *testing.T) {
	const size = 250 << 10
	for _, c := range []struct {
		name  string
		codec protocol.Codec
		in    string
		max   int // times the size
	}{
		{"MQTT", protocol.MQTTPackets{}, "\x30" + string([]byte{0x80 | size&0x7f, 0x80 | size>>7&0x7f, size >> 14}) + strings.Repeat("x", size), 2},
		{"netstring", protocol.Netstrings{}, fmt.Sprintf("%d:%s,", size, strings.Repeat("x", size)), 2},
		{"RESP, one bulk", protocol.RESPCommands{}, fmt.Sprintf("*1\r\n$%d\r\n%s\r\n", size, strings.Repeat("x", size)), 4},
		{"RESP, empty bulks", protocol.RESPCommands{}, fmt.Sprintf("*%d\r\n%s", size/6, strings.Repeat("$0\r\n\r\n", size/6)), 10},
		{"RESP, many bulks", protocol.RESPCommands{}, fmt.Sprintf("*%d\r\n%s", size/20, strings.Repeat("$13\r\nxxxxxxxxxxxxx\r\n", size/20)), 60},
	} {
		frames, work, err := decodeBytewise(c.codec, []byte(c.in))
		if frames != 1 || err != nil || work > c.max*size {
			t.Errorf("%s: got %d frames, %v, and %d times %d bytes examined, want 1 frame and at most %d times", c.name, frames, err, work/size, size, c.max)
		}
	}
}

// A handler receives the same frames, however they are cut.
func TestNamedFramesHoweverTheyAreCut(t *testing.T) {
	bulk := "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2000\r\n" + strings.Repeat("v", 2000) + "\r\n"
	for _, c := range []struct {
		codec protocol.Codec
		in    string
	}{
		{protocol.MQTTPackets{}, "\xc0\x00\x30\x80\x04" + strings.Repeat("x", 512) + "\xe0\x00"},
		{protocol.PktLines{}, "0006a\n00000001" + "03e8" + strings.Repeat("x", 996) + "0002"},
		{protocol.RESPCommands{}, "*1\r\n$4\r\nPING\r\n" + bulk + "PING\r\n*0\r\n" + bulk},
		{protocol.Netstrings{}, "0:,5:hello,1000:" + strings.Repeat("x", 1000) + ",1:a,"},
	} {
		for _, piece := range []int{1, 2, 7, 1000, len(c.in)} {
			synctest.Test(t, func(t *testing.T) {
				s := newTestServer(t, newEcho, protocol.Options{Codec: c.codec})
				nc := s.dial(t)
				go func() {
					for b := c.in; len(b) > 0; b = b[min(piece, len(b)):] {
						io.WriteString(nc, b[:min(piece, len(b))])
					}
					nc.(interface{ CloseWrite() error }).CloseWrite()
				}()
				if got, err := io.ReadAll(nc); err != nil || string(got) != c.in {
					t.Errorf("%T in pieces of %d bytes: got %q, %v, want %q", c.codec, piece, got, err, c.in)
				}
				if e := <-s.ends; e.Reason != conns.PeerClosed {
					t.Errorf("%T in pieces of %d bytes: got end %v (%v), want %v", c.codec, piece, e.Reason, e.Err, conns.PeerClosed)
				}
			})
		}
	}
}

func TestAppendPktLine(t *testing.T) {
	for _, tt := range []struct{ payload, want string }{{"a\n", "0006a\n"}, {"", "0004"}, {strings.Repeat("x", 65516), "fff0" + strings.Repeat("x", 65516)}} {
		if got, err := protocol.AppendPktLine([]byte("0000"), []byte(tt.payload)); string(got) != "0000"+tt.want || err != nil {
			t.Errorf("payload of %d bytes: got %.20q, %v, want %.20q", len(tt.payload), got, err, "0000"+tt.want)
		}
	}
	got, err := protocol.AppendPktLine([]byte("0000"), make([]byte, 65517))
	if string(got) != "0000" || !errors.Is(err, protocol.ErrFrameTooLarge) {
		t.Errorf("payload of 65517 bytes: got %.20q, %v, want ErrFrameTooLarge", got, err)
	}
}

func TestRESPArgs(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want []string // nil: refused
	}{
		{"*2\r\n$3\r\nGET\r\n$0\r\n\r\n", []string{"GET", ""}}, {"*0\r\n", []string{}}, {"*-1\r\n", []string{}},
		{"PING\r\n", []string{"PING"}}, {"PING\n", []string{"PING"}}, {"\r\n", []string{}}, {"", []string{}}, {" a\t b \n", []string{"a", "b"}},
		{`SET "a b" 'c d'` + "\n", []string{"SET", "a b", "c d"}}, {`"" ''` + "\n", []string{"", ""}}, {`a"b c"` + "\n", []string{"ab c"}},
		{`"\x41\n\r\t\b\a\"\\\q\xg"` + "\n", []string{"A\n\r\t\b\a\"\\qxg"}}, {`'a\'b\n'` + "\n", []string{`a'b\n`}}, {"a\vb\n", []string{"a\vb"}},
		{`"a` + "\n", nil}, {`'a` + "\n", nil}, {`"a"b` + "\n", nil}, {`"a\`, nil}, {`x "`, nil},
		{"*1\r\n", nil}, {"*1\r\n$9\r\na\r\n", nil}, {"*1\r\n$1\r\na\r\nmore", nil}, {"*", nil}, {"*1\r\n:1\r\n", nil}, {"*1\r\n$1\r\na", nil},
	} {
		before := []byte("before")
		args, err := protocol.RESPArgs([][]byte{before}, []byte(tt.in))
		if tt.want == nil {
			if !errors.Is(err, protocol.ErrBadInput) || len(args) != 1 {
				t.Errorf("%q: got %q, %v, want ErrBadInput", tt.in, args, err)
			}
			continue
		}
		got := []string{}
		for _, a := range args[1:] {
			got = append(got, string(a))
		}
		if d := cmp.Diff(tt.want, got); d != "" || err != nil {
			t.Errorf("%q: error %v; (-want +got)\n%s", tt.in, err, d)
		}
	}
}

// The arguments of a command are those that it was made of, and do not exceed it.
func FuzzRESPArgs(f *testing.F) {
	for _, s := range []string{"*1\r\n$4\r\nPING\r\n", `SET "a\x41" 'b'` + "\r\n", `"\`, "*-1\r\n", "*2\r\n$1\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		_, n, _, err := protocol.RESPCommands{}.Decode(in)
		args, argsErr := protocol.RESPArgs(nil, bytes.Clone(in))
		if argsErr != nil && !errors.Is(argsErr, protocol.ErrBadInput) {
			t.Errorf("%q: got %v, want ErrBadInput", in, argsErr)
		}
		if err == nil && n == len(in) && n > 0 && in[0] == '*' && argsErr != nil {
			t.Errorf("%q: got %v, want the arguments of a command that Decode accepts", in, argsErr)
		}
		again := fmt.Appendf(nil, "*%d\r\n", len(args))
		for _, a := range args {
			again = fmt.Appendf(again, "$%d\r\n%s\r\n", len(a), a)
		}
		if got, err := protocol.RESPArgs(nil, again); argsErr == nil && (err != nil || len(again) < 256<<10 && !cmp.Equal(got, args)) {
			t.Errorf("%q: got %q, %v, want %q", again, got, err, args)
		}
	})
}

// namedFrames are one frame for each codec of a named protocol.
var namedFrames = []struct {
	name  string
	codec protocol.Codec
	in    []byte
}{
	{"MQTT", protocol.MQTTPackets{}, []byte("\x30\x0c\x00\x05topichello")},
	{"pkt-line", protocol.PktLines{}, []byte("0032want 0a53e9ddeaddad63ad106860237bbf53411d11a7\n")},
	{"RESP", protocol.RESPCommands{}, []byte("*3\r\n$3\r\nSET\r\n$6\r\nkey:12\r\n$5\r\nhello\r\n")},
	{"RESP line", protocol.RESPCommands{}, []byte("SET key:12 \"hello\"\r\n")},
	{"netstring", protocol.Netstrings{}, []byte("12:hello, world,")},
}

func BenchmarkNamedCodecs(b *testing.B) {
	for _, c := range namedFrames {
		b.Run(c.name, func(b *testing.B) {
			var args [][]byte
			var out []byte
			in := bytes.Clone(c.in)
			b.SetBytes(int64(len(in)))
			b.ReportAllocs()
			for b.Loop() {
				copy(in, c.in) // RESPArgs modifies a line
				frame, n, _, err := c.codec.Decode(in)
				if err == nil {
					out, err = c.codec.Append(out[:0], frame)
				}
				if _, resp := c.codec.(protocol.RESPCommands); resp && err == nil {
					args, err = protocol.RESPArgs(args[:0], frame)
				}
				if err != nil || n != len(in) || len(out) != n {
					b.Fatalf("got %d bytes and %v, want %d", n, err, len(in))
				}
			}
		})
	}
}

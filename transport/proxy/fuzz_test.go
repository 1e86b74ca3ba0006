package proxy

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"goranch/transport"
)

// stream is a peer whose bytes arrive step by step, and that notices how far it was read.
type stream struct {
	b       []byte
	step    int
	ahead   int // arrived
	discard int
	header  *transport.ProxyHeader
	transport.Accepted
}

func (s *stream) Peek(n int) ([]byte, error) {
	for s.ahead < n {
		if s.ahead == len(s.b) {
			return s.b[:s.ahead], io.EOF
		}
		s.ahead = min(s.ahead+s.step, len(s.b))
	}
	return s.b[:s.ahead], nil
}

func (s *stream) Discard(n int)                     { s.discard += n }
func (s *stream) SetProxy(h *transport.ProxyHeader) { s.header = h }

// FuzzReceive: whatever arrives, however it is cut, is accepted or refused with an error
// of ours; what is accepted ends where the header says, does not ask for a byte more, and
// is read again the same from what the writer makes of it.
func FuzzReceive(f *testing.F) {
	v2 := string(signatures[2])
	addrs := "\xc0\x00\x02\x01\xc0\x00\x02\x02\x03\xe8\x01\xbb"
	for _, seed := range []string{
		"", "GET /", "PROXY ", "PROXY UNKNOWN\r\ndata", "PROXY UNKNOWN x y\r\n",
		"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\ndata", "PROXY TCP6 2001:db8::1 ::ffff:192.0.2.1 1 65535\r\n",
		v2, v2 + "\x20\x00\x00\x00", v2 + "\x20\x11\x00\x00", v2 + "\x21\x11\x00\x0c" + addrs + "data",
		v2 + "\x21\x00\x00\x00", v2 + "\x21\x11\xff\xff" + addrs, v2 + "\x21\x11\x00\x0b" + addrs,
		v2 + "\x21\x21\x00\x24" + strings.Repeat(addrs, 3), v2 + "\x22\x11\x00\x0c" + addrs,
		v2 + "\x21\x11\x00\x13" + addrs + "\x03\x00\x04abcd", v2 + "\x21\x11\x00\x13" + addrs + "\x04\x00\x04abcd",
		v2 + "\x21\x31\x00\xd8" + "/c" + strings.Repeat("\x00", 106) + "\x00s" + strings.Repeat("\x00", 106),
		v2 + "\x21\x11\x00\x1c" + addrs + "\x20\x00\x0d\x01\x00\x00\x00\x00\x21\x00\x05TLSv1",
	} {
		f.Add([]byte(seed), uint8(1))
		f.Add([]byte(seed), uint8(255))
	}
	f.Fuzz(func(t *testing.T, b []byte, step uint8) {
		in := &stream{b: b, step: int(step) + 1}
		err := Transport{}.receive(in, Require)
		if err != nil {
			if in.discard != 0 || in.header != nil {
				t.Errorf("%v, but %d bytes taken", err, in.discard)
			}
			for _, known := range []error{ErrNoHeader, ErrMalformed, ErrChecksum, ErrTooLarge} {
				if errors.Is(err, known) {
					return
				}
			}
			t.Fatalf("an error of another kind: %v", err)
		}
		if in.ahead >= in.discard+in.step {
			t.Errorf("%d bytes awaited, the header has %d", in.ahead, in.discard)
		}
		again := &stream{b: b[:in.discard], step: 1}
		if err := (Transport{}).receive(again, Require); err != nil || again.discard != in.discard {
			t.Fatalf("the %d bytes of the header alone: %d, %v", in.discard, again.discard, err)
		}
		want := formOf(in.header)
		if diff := cmp.Diff(want, formOf(again.header)); diff != "" {
			t.Fatalf("byte by byte (-at once +so):\n%s", diff)
		}
		sum := in.header.Version == 2
		out, err := Format(in.header, sum)
		if err != nil {
			t.Fatalf("cannot be written: %v", err)
		}
		if len(out)-fixedSize > DefaultMaxHeaderBytes {
			return // the checksum was too much
		}
		back := &stream{b: append(out, b...), step: 1}
		if err := (Transport{}).receive(back, Require); err != nil || back.discard != len(out) {
			t.Fatalf("written as %q, read with %d bytes: %v", out, back.discard, err)
		}
		if diff := cmp.Diff(want, formOf(back.header)); diff != "" {
			t.Errorf("round trip (-read +read again):\n%s", diff)
		}
	})
}

// form is a header without what the way through the writer changes: the checksum.
type form struct {
	Version   int
	Local     bool
	Src, Dest string
	TLVs      []transport.TLV
}

func formOf(h *transport.ProxyHeader) form {
	addr := func(a net.Addr) string {
		if a == nil {
			return ""
		}
		return a.Network() + " " + a.String()
	}
	f := form{Version: h.Version, Local: h.Local, Src: addr(h.Source), Dest: addr(h.Destination)}
	for _, tlv := range h.TLVs {
		if tlv.Type != TypeCRC32C {
			f.TLVs = append(f.TLVs, transport.TLV{Type: tlv.Type, Value: bytes.Clone(tlv.Value)})
		}
	}
	return f
}

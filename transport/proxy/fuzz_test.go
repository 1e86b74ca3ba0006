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

// stream is a connection on which step bytes arrive at a time.
type stream struct {
	b      []byte
	step   int
	ahead  int // bytes that have arrived
	read   int // bytes consumed
	header *transport.ProxyHeader
	accepted
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

func (s *stream) Read(p []byte) (int, error) {
	n := copy(p, s.b[s.read:s.ahead])
	s.read += n
	return n, nil
}

func (s *stream) SetProxy(h *transport.ProxyHeader) { s.header = h }

// FuzzReceive checks for any input, split in any way, that receive accepts it or returns an error
// of this package, that it consumes exactly the header and waits for no byte after it, and that
// Format encodes the header so that it is read with the same content.
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
			if in.read != 0 || in.header != nil {
				t.Errorf("got %v and %d bytes consumed, want none", err, in.read)
			}
			for _, known := range []error{ErrNoHeader, errMalformed, errChecksum, errTooLarge} {
				if errors.Is(err, known) {
					return
				}
			}
			t.Fatalf("got error %v, want one of this package", err)
		}
		if in.ahead >= in.read+in.step {
			t.Errorf("waited for %d bytes, want at most the header of %d bytes", in.ahead, in.read)
		}
		again := &stream{b: b[:in.read], step: 1}
		if err := (Transport{}).receive(again, Require); err != nil || again.read != in.read {
			t.Fatalf("header alone: got %d bytes, %v, want %d", again.read, err, in.read)
		}
		want := formOf(in.header)
		if diff := cmp.Diff(want, formOf(again.header)); diff != "" {
			t.Fatalf("byte by byte (-want +got):\n%s", diff)
		}
		sum := in.header.Version == 2
		out, err := Format(in.header, sum)
		if err != nil {
			t.Fatalf("Format: got %v, want no error", err)
		}
		if len(out)-fixedSize > defaultHeaderBytes {
			return // the checksum makes it too large
		}
		back := &stream{b: append(out, b...), step: 1}
		if err := (Transport{}).receive(back, Require); err != nil || back.read != len(out) {
			t.Fatalf("read of %q: got %d bytes, %v, want %d", out, back.read, err, len(out))
		}
		if diff := cmp.Diff(want, formOf(back.header)); diff != "" {
			t.Errorf("round trip (-want +got):\n%s", diff)
		}
	})
}

// form is a header without its checksum, which Format replaces.
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
		if tlv.Type != typeCRC32C {
			f.TLVs = append(f.TLVs, transport.TLV{Type: tlv.Type, Value: bytes.Clone(tlv.Value)})
		}
	}
	return f
}

package wslisten

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"goranch/protocol"
)

// decodeAll decodes in, in pieces that end at cut and at each multiple of it.
func decodeAll(in []byte, cut int) (payload []byte, d *decoder, err error) {
	d = &decoder{max: 100}
	for len(in) > 0 && err == nil && !d.closed {
		p := bytes.Clone(in[:min(cut, len(in))])
		in = in[len(p):]
		var n int
		n, err = d.decode(p)
		payload = append(payload, p[:n]...)
	}
	return payload, d, err
}

// Wherever the input is divided, the payload, the pings and the error are the same.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		"\x81\x85\x01\x02\x03\x04iginm", "\x01\x83\x00\x00\x00\x00\xe2\x82\xac\x89\x81\x00\x00\x00\x00p\x80\x80\x00\x00\x00\x00", "\x88\x82\x00\x00\x00\x00\x03\xe8",
		"\x82\xfe\x00\x7e\x00\x00\x00\x00", "\x82\xff\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00", "\x81\x81\x00\x00\x00\x00\xff", "\x82\x05hello",
	} {
		f.Add([]byte(s), 1)
		f.Add([]byte(s), 3)
	}
	f.Fuzz(func(t *testing.T, in []byte, cut int) {
		if cut < 1 {
			cut = 1
		}
		whole, wd, wantErr := decodeAll(in, len(in)+1)
		got, d, err := decodeAll(in, cut)
		if wantErr != nil && !errors.Is(wantErr, protocol.ErrBadInput) {
			t.Errorf("got %v, want ErrBadInput", wantErr)
		}
		if (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() {
			t.Errorf("in pieces of %d: got error %v, want %v", cut, err, wantErr)
		}
		// At once, text before the invalid byte is not returned.
		if wantErr == nil && !bytes.Equal(got, whole) || !bytes.HasPrefix(got, whole) {
			t.Errorf("in pieces of %d: got %q, want %q", cut, got, whole)
		}
		if d.closed != wd.closed || d.code != wd.code || d.pinged != wd.pinged || !bytes.Equal(d.ping, wd.ping) {
			t.Errorf("in pieces of %d: got ping %q, close %d, want %q, %d", cut, d.ping, d.code, wd.ping, wd.code)
		}
	})
}

// Decoding allocates nothing, and unmasks blocks of any length at any position.
func TestDecodeAllocs(t *testing.T) {
	mask := []byte{1, 2, 3, 4}
	for _, n := range []int{0, 1, 15, 16, 17, 99} {
		var in []byte
		payload := strings.Repeat("x", n)
		in = append(in, 0x82, 0x80|byte(n))
		in = append(in, mask...)
		for i := range n {
			in = append(in, payload[i]^mask[i&3])
		}
		d, p := decoder{max: -1}, make([]byte, len(in))
		allocs := testing.AllocsPerRun(10, func() {
			copy(p, in)
			if got, err := d.decode(p); err != nil || string(p[:got]) != payload {
				t.Fatalf("got %q, %v, want %q", p[:got], err, payload)
			}
		})
		if allocs > 0 {
			t.Errorf("%d bytes: got %v allocations, want 0", n, allocs)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	in := append([]byte{0x82, 0xfe, 0x10, 0x00, 1, 2, 3, 4}, make([]byte, 4096)...)
	d, p := decoder{max: -1}, make([]byte, len(in))
	b.SetBytes(4096)
	for b.Loop() {
		copy(p, in)
		if n, err := d.decode(p); n != 4096 || err != nil {
			b.Fatal(n, err)
		}
	}
}

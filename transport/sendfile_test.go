package transport_test

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/transport"
)

// Parts of a file are sent in chunks that divide their length and in chunks that do not.
func TestSendFile(t *testing.T) {
	const size = 600_000
	f, empty := fileOf(t, size), fileOf(t, 0)
	for _, name := range []string{"tcp", "unix", "tls1.3", "tls1.2", "pipe"} {
		t.Run(name, func(t *testing.T) {
			for _, tt := range []struct{ offset, length, chunk, want int64 }{
				{0, 0, 0, size},
				{0, size, 0, size},
				{0, size + 1, 0, size}, // more than the file has
				{1, 0, 0, size - 1},
				{size - 1, 0, 0, 1},
				{size, 0, 0, 0},
				{size + 10, 0, 0, 0}, // after the end
				{size + 10, 100, 0, 0},
				{1<<63 - 1, 0, 0, 0},
				{0, 1<<63 - 1, 1<<63 - 1, size},
				{0, 1, 0, 1},
				{0, 5, 1, 5},
				{7, 256<<10 + 1, 0, 256<<10 + 1},
				{100, 300_000, 100_000, 300_000},
				{100, 300_000, 99_999, 300_000},
				{size - 10, 256 << 10, 3, 10},
			} {
				dst, out := pairOf(t, name)
				got := async(func() (int64, error) {
					return io.Copy(&checker{off: tt.offset % size}, struct{ io.Reader }{out})
				})
				n, err := dst.SendFile(f, tt.offset, tt.length, tt.chunk)
				if n != tt.want || err != nil {
					t.Errorf("%+v: got %d, %v, want the part", tt, n, err)
				}
				if n, err := dst.SendFile(empty, 0, 0, 0); n != 0 || err != nil {
					t.Errorf("empty file: got %d, %v, want 0", n, err)
				}
				if pos, _ := f.Seek(0, io.SeekCurrent); pos != 0 {
					t.Errorf("%+v: got position %d of the file, want it unchanged", tt, pos)
				}
				if s := dst.Stats(); s.BytesWritten != uint64(tt.want) {
					t.Errorf("%+v: got %+v, want the bytes counted", tt, s)
				}
				dst.Close()
				if r := await(t, "the peer", got); r.n != tt.want || r.err != nil {
					t.Errorf("%+v: peer got %d, %v, want the part", tt, r.n, r.err)
				}
			}
		})
	}
}

// Three ranges are sent one after another, with other writes between them.
func TestSendFileRanges(t *testing.T) {
	f := fileOf(t, 500_000)
	eachKind(t, func(t *testing.T, k kind) {
		for _, opts := range []transport.TCP{{}, {SendTimeout: -1}} {
			dst, out := k.pair(t, opts)
			for _, r := range [][2]int64{{0, 10}, {300_000, 150_000}, {10, 299_990}} {
				got := async(func() (int64, error) { return io.CopyN(&checker{off: r[0]}, out, r[1]) })
				if n, err := dst.SendFile(f, r[0], r[1], 0); n != r[1] || err != nil {
					t.Errorf("range %v: got %d, %v, want the range", r, n, err)
				}
				if r := await(t, "the peer", got); r.err != nil {
					t.Error(r.err)
				}
				exchange(t, dst, out)
			}
		}
	})
}

// A sparse file of 64 MiB is sent to three connections at once.
func TestSendFileLarge(t *testing.T) {
	const size = 64 << 20
	f := fileOf(t, 1000)
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for _, name := range []string{"tcp", "unix", "tls1.3"} {
		dst, out := pairOf(t, name)
		all.Go(func() {
			n, err := dst.SendFile(f, 0, 0, 0)
			if n != size || err != nil {
				t.Errorf("%s: got %d, %v, want all bytes", name, n, err)
			}
			dst.Close()
		})
		all.Go(func() {
			if n, err := io.Copy(io.Discard, struct{ io.Reader }{out}); n != size || err != nil {
				t.Errorf("%s: peer got %d, %v, want all bytes", name, n, err)
			}
		})
	}
	all.Wait()
}

func TestSendFileFaults(t *testing.T) {
	f := fileOf(t, 10)
	closed := fileOf(t, 10)
	closed.Close()
	for _, name := range []string{"tcp", "tls1.3", "pipe"} {
		dst, out := pairOf(t, name)
		for _, tt := range []struct {
			f                     *os.File
			offset, length, chunk int64
			want                  error
			text                  string
		}{
			{f, -1, 0, 0, os.ErrInvalid, "offset -1"},
			{f, 0, -2, 0, os.ErrInvalid, "length -2"},
			{f, 0, 0, -3, os.ErrInvalid, "chunk -3"},
			{f, -1, -2, -3, os.ErrInvalid, "chunk -3"},
			{nil, 0, 0, 0, os.ErrInvalid, ""},
			{closed, 0, 0, 0, fs.ErrClosed, ""},
		} {
			n, err := dst.SendFile(tt.f, tt.offset, tt.length, tt.chunk)
			if n != 0 || !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("%s: %+v: got %d, %v, want 0 bytes and that error", name, tt, n, err)
			}
		}
		dir, err := os.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer dir.Close()
		if n, err := dst.SendFile(dir, 0, 0, 0); n != 0 || err == nil {
			t.Errorf("%s: directory: got %d, %v, want an error", name, n, err)
		}
		exchange(t, dst, out) // the connection is still usable
	}
}

// stuckFile begins to send a file to a peer that does not read.
func stuckFile(t *testing.T, name string, f *os.File) (dst *transport.Conn, out net.Conn, sending <-chan result) {
	t.Helper()
	dst, out = kindNamed(name).pair(t, transport.TCP{WriteBuffer: 4096, ReadBuffer: 4096})
	sending = async(func() (int64, error) { return dst.SendFile(f, 0, 0, 0) })
	waitBlocked(t, 1, "transport.(*Conn).SendFile(")
	return dst, out, sending
}

func TestSendFilePeerCloses(t *testing.T) {
	f := fileOf(t, 32<<20)
	for _, name := range []string{"tcp", "unix", "tls1.3"} {
		dst, out, sending := stuckFile(t, name, f)
		out.Close()
		r := await(t, "SendFile", sending)
		var oe *net.OpError
		if !errors.As(r.err, &oe) || oe.Op != "write" || r.n >= 32<<20 {
			t.Errorf("%s: got %d, %#v, want a part of the file and a *net.OpError of write", name, r.n, r.err)
		}
		if s := dst.Stats(); s.BytesWritten != uint64(r.n) {
			t.Errorf("%s: got %d sent and %+v counted, want the same", name, r.n, s)
		}
	}
}

// A file that is truncated while it is sent is sent up to its end.
func TestSendFileTruncated(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("open files cannot be truncated on this system")
	}
	for _, name := range []string{"tcp", "unix", "tls1.3"} {
		f := fileOf(t, 32<<20)
		dst, out, sending := stuckFile(t, name, f)
		if err := f.Truncate(0); err != nil {
			t.Fatal(err)
		}
		got := async(func() (int64, error) { return io.Copy(io.Discard, struct{ io.Reader }{out}) })
		r := await(t, "SendFile", sending)
		if r.err != nil || r.n == 0 || r.n >= 32<<20 {
			t.Errorf("%s: got %d, %v, want a part of the file and no error", name, r.n, r.err)
		}
		dst.Close()
		if g := await(t, "the peer", got); g.n != r.n || g.err != nil {
			t.Errorf("%s: got %d sent and %d received, %v, want the same", name, r.n, g.n, g.err)
		}
	}
}

// Abort ends SendFile.
func TestSendFileAborted(t *testing.T) {
	f := fileOf(t, 32<<20)
	for _, name := range []string{"tcp", "unix", "tls1.3"} {
		dst, _, sending := stuckFile(t, name, f)
		dst.Abort()
		wantIs(t, await(t, "SendFile", sending).err, net.ErrClosed)
	}
}

// A slow peer may take longer than the send timeout, but not for one chunk.
func TestSendFileTimeoutIsPerChunk(t *testing.T) {
	t.Parallel()
	const timeout, size, piece = time.Second, 1 << 20, 64 << 10
	dst, out := kindNamed("tcp").pair(t, transport.TCP{WriteBuffer: 4096, ReadBuffer: 4096, SendTimeout: timeout})
	f := fileOf(t, size)
	start := time.Now()
	sending := async(func() (int64, error) { return dst.SendFile(f, 0, 0, piece) })
	tick := time.NewTicker(timeout / 10)
	defer tick.Stop()
	got := new(checker)
	for got.off < size {
		<-tick.C
		if _, err := io.CopyN(got, out, piece); err != nil {
			t.Fatalf("after %d bytes: got %v, want more", got.off, err)
		}
	}
	if r := await(t, "SendFile", sending); r.n != size || r.err != nil {
		t.Errorf("got %d, %v, want the whole file", r.n, r.err)
	}
	if d := time.Since(start); d < timeout {
		t.Errorf("got the end after %v, want more than one timeout", d)
	}
}

// Files that report a size of 0, and from which the kernel cannot send, are copied.
func TestSendFileFromProc(t *testing.T) {
	path := "/proc/self/limits"
	want, err := os.ReadFile(path)
	if err != nil {
		t.Skipf("no such file: %v", err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	dst, out := kindNamed("tcp").pair(t, transport.TCP{})
	if n, err := dst.SendFile(f, 0, 0, 0); n != int64(len(want)) || err != nil {
		t.Errorf("got %d bytes, want %d: %v", n, len(want), err)
	}
	dst.Close()
	got, _ := io.ReadAll(out)
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("data (-want +got):\n%s", diff)
	}
}

// A file is sent by name with os.Open.
func TestSendFileByName(t *testing.T) {
	path := filepath.Join(t.TempDir(), "page")
	if err := os.WriteFile(path, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	dst, out := kindNamed("tcp").pair(t, transport.TCP{})
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := dst.SendFile(f, 1, 3, 0); err != nil {
		t.Fatal(err)
	}
	dst.Close()
	if got, err := io.ReadAll(out); string(got) != "ell" || err != nil {
		t.Errorf("got %q, %v, want ell", got, err)
	}
}

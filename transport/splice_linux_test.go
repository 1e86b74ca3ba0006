package transport_test

import (
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goranch/transport"
)

// relay is a bulk copy between two plain TCP connections whose receiver has stopped reading, so
// that splice waits for it.
type relay struct {
	src, dst *transport.Conn
	in, out  net.Conn
	copying  <-chan result
	got      *checker // the data that out has received
}

func stuckRelay(t *testing.T, opts transport.TCP) *relay {
	t.Helper()
	r := &relay{got: new(checker)}
	r.src, r.in = kindNamed("tcp").pair(t, transport.TCP{})
	r.dst, r.out = kindNamed("tcp").pair(t, opts)
	flooding := async(func() (int64, error) { return io.Copy(r.in, &stream{n: 1 << 40}) })
	t.Cleanup(func() {
		r.src.Abort()
		await(t, "the sender", flooding)
	})
	r.copying = async(func() (int64, error) { return r.src.WriteTo(r.dst) })
	// Between two splices a piece may be copied in user space. Then the receiver reads a little
	// more, and the copy blocks elsewhere.
	for range 1000 {
		// With a short send timeout the copy may have ended.
		waitFor(t, "the copy waits", func() bool { return countBlocked("transport.(*Conn).WriteTo(") > 0 || len(r.copying) > 0 })
		if countBlocked("transport.(*Conn).splice(") > 0 || len(r.copying) > 0 {
			return r
		}
		if _, err := io.CopyN(r.got, r.out, 100_000); err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("got a copy that does not block in splice, want one that does")
	return nil
}

// receive reads until upTo bytes have arrived.
func (r *relay) receive(tb testing.TB, upTo int64) {
	tb.Helper()
	if _, err := io.CopyN(r.got, r.out, upTo-r.got.off); err != nil {
		tb.Fatalf("got %d bytes, want %d: %v", r.got.off, upTo, err)
	}
}

// finish lets the receiver read until the copy has ended.
func (r *relay) finish(tb testing.TB) result {
	tb.Helper()
	reading := async(func() (int64, error) { return io.Copy(r.got, struct{ io.Reader }{r.out}) })
	res := await(tb, "WriteTo", r.copying)
	r.out.SetReadDeadline(time.Unix(1, 0))
	if r := await(tb, "the receiver", reading); r.err != nil && !errors.Is(r.err, os.ErrDeadlineExceeded) {
		tb.Errorf("receiver: got %v, want no error", r.err)
	}
	r.out.SetReadDeadline(time.Now().Add(testTimeout))
	return res
}

// StopReading of the source while the destination blocks the copy does not affect the destination:
// the data sent to it arrives, and it can be written to.
func TestStopReadingDuringSplice(t *testing.T) {
	r := stuckRelay(t, transport.TCP{})
	r.src.StopReading(errCause)
	res := r.finish(t)
	wantStopped(t, "WriteTo", res.err)
	if errors.Is(res.err, transport.ErrSendTimeout) {
		t.Errorf("got %v, want the cause, not a send timeout", res.err)
	}
	r.receive(t, res.n)
	if got := r.src.Stats().BytesRead; got != uint64(res.n) {
		t.Errorf("got %d copied and %d counted by the source, want the same", res.n, got)
	}
	if got := r.dst.Stats().BytesWritten; got != uint64(res.n) {
		t.Errorf("got %d copied and %d counted by the destination, want the same", res.n, got)
	}
	exchange(t, r.dst, r.out)
}

// The same holds for a read deadline, after which the copy can be continued.
func TestReadDeadlineDuringSplice(t *testing.T) {
	r := stuckRelay(t, transport.TCP{})
	r.src.SetReadDeadline(time.Now().Add(-time.Second))
	res := r.finish(t)
	wantDeadline(t, "WriteTo", res.err)
	r.receive(t, res.n)
	exchange(t, r.dst, r.out)

	r.src.SetReadDeadline(time.Time{})
	copying := async(func() (int64, error) { return r.dst.ReadFrom(io.LimitReader(r.src, 10<<20)) })
	r.receive(t, res.n+10<<20)
	if res := await(t, "the second copy", copying); res.err != nil {
		t.Errorf("copy: got %v, want no error", res.err)
	}
}

// A send timeout of the destination is reported as such even if the source was stopped as well.
func TestSendTimeoutDuringSplice(t *testing.T) {
	for _, stop := range []bool{false, true} {
		r := stuckRelay(t, transport.TCP{SendTimeout: 200 * time.Millisecond})
		if stop {
			r.src.StopReading(errCause)
		}
		res := await(t, "WriteTo", r.copying)
		wantIs(t, res.err, transport.ErrSendTimeout)
		if _, err := r.dst.Write([]byte("x")); err == nil {
			t.Error("destination: got an open connection, want it closed")
		}
		// The source is still open.
		exchangeOneWay(t, r.src, r.in)
	}
}

// If the destination fails, the data in the pipe of the kernel is lost: one piece. The data after
// it is in order, and the source is usable.
func TestSourceAfterFailedSplice(t *testing.T) {
	const piece = 256 << 10
	for range 3 {
		r := stuckRelay(t, transport.TCP{SendTimeout: 100 * time.Millisecond, KeepOnSendTimeout: true})
		res := await(t, "WriteTo", r.copying)
		wantIs(t, res.err, transport.ErrSendTimeout)
		r.receive(t, res.n)
		exchange(t, r.dst, r.out) // kept open, with no byte missing in between

		p := make([]byte, 64)
		if _, err := io.ReadFull(r.src, p); err != nil {
			t.Fatal(err)
		}
		lost := positionOf(t, p, res.n, piece) - res.n
		t.Logf("%d bytes were sent, the next %d lost", res.n, lost)
		if _, err := io.CopyN(&checker{off: res.n + lost + int64(len(p))}, r.src, 1<<20); err != nil {
			t.Errorf("after the lost piece: got %v, want no error", err)
		}
	}
}

// positionOf returns the position of p in the test data, from off on.
func positionOf(tb testing.TB, p []byte, off, within int64) int64 {
	tb.Helper()
	q := make([]byte, len(p))
	for i := off; i <= off+within; i++ {
		if string(fill(q, i)) == string(p) {
			return i
		}
	}
	tb.Fatalf("got other data, want the test data within %d bytes after the data sent", within)
	return 0
}

// A receiver that is slow but steady receives everything: each piece has its own send timeout,
// however much data is queued before it.
func TestSpliceToSlowReceiver(t *testing.T) {
	inTime(t, 160*time.Millisecond, func(timeout time.Duration) bool { return receiveSlowly(t, timeout) })
}

// receiveSlowly reports false if the send timeout has ended the copy.
func receiveSlowly(t *testing.T, timeout time.Duration) bool {
	t.Helper()
	src, in := kindNamed("tcp").pair(t, transport.TCP{})
	dst, out := kindNamed("tcp").pair(t, transport.TCP{SendTimeout: timeout, WriteBuffer: 64 << 10, ReadBuffer: 64 << 10})
	flooding := async(func() (int64, error) { return io.Copy(in, &stream{n: 1 << 40}) })
	copying := async(func() (int64, error) { return src.WriteTo(dst) })
	got := new(checker)
	receive := func(n int64) bool {
		_, err := io.CopyN(got, out, n)
		if err == nil {
			return true
		}
		if err != io.EOF && !errors.Is(err, unix.ECONNRESET) { // which the send timeout causes
			t.Fatalf("send timeout %v: after %d bytes: got %v, want more", timeout, got.off, err)
		}
		wantIs(t, await(t, "WriteTo", copying).err, transport.ErrSendTimeout)
		src.Abort()
		await(t, "the sender", flooding)
		return false
	}
	if !receive(30 << 20) {
		return false
	}
	queued := 0
	for range 10 { // until the kernel has enlarged the buffer
		queued = 0
		waitFor(t, "the pile grows no more", func() bool {
			before := queued
			onSocket(t, src, func(fd int) { queued, _ = unix.IoctlGetInt(fd, unix.TIOCINQ) })
			return queued > 0 && queued == before
		})
		if queued > 1500<<10 {
			break
		}
		if !receive(30 << 20) {
			return false
		}
	}
	t.Logf("%d bytes have piled up", queued)
	tick := time.NewTicker(timeout / 16)
	defer tick.Stop()
	for end := got.off + int64(queued); got.off < end; { // 256 KiB in a quarter of the time
		<-tick.C
		if !receive(64 << 10) {
			return false
		}
	}
	src.Abort()
	out.Close()
	await(t, "WriteTo", copying)
	await(t, "the sender", flooding)
	return true
}

// Bulk data between two plain TCP connections, and files sent to one, are not copied to user space,
// whichever call is used; strace counts the bytes of each system call. No copy bypasses TLS.
func TestKernelCopies(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is not installed: it shows whether splice and sendfile are used")
	}
	// On a busy machine the sender may be too slow for splice.
	var sent map[string]int
	for range 10 {
		if sent = traceCopies(t, strace); sent["splice"] >= kernelSize {
			break
		}
	}
	spliced := sent["splice"] / 2 // into the pipe and out of it
	t.Logf("%d bytes were spliced, %d went by sendfile", spliced, sent["sendfile"])
	if spliced < kernelSize/2 || spliced > kernelSize {
		t.Errorf("TCP to TCP: of %d bytes, got %d spliced, want more", kernelSize, spliced)
	}
	// To TCP by each call, and by SendFile to a Unix socket.
	if want := (len(fileCopies) + 1) * kernelSize; sent["sendfile"] != want {
		t.Errorf("files: of %d bytes, got %d sent by sendfile, want all", want, sent["sendfile"])
	}
}

// traceCopies runs the workload and counts the bytes of each system call.
func traceCopies(t *testing.T, strace string) map[string]int {
	log := filepath.Join(t.TempDir(), "strace")
	cmd := exec.CommandContext(t.Context(), strace, "-f", "-qq", "--seccomp-bpf", "-e", "trace=splice,sendfile", "-o", log,
		os.Args[0], "-test.run=^TestKernelWorkload$", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), "GORANCH_KERNEL_WORKLOAD=1")
	out, err := cmd.CombinedOutput()
	trace, _ := os.ReadFile(log)
	if len(trace) == 0 && err != nil {
		t.Skipf("strace cannot trace on this system: %v\n%s", err, out)
	}
	if err != nil {
		t.Fatalf("workload: got %v, want no error\n%s", err, out)
	}
	sent := make(map[string]int)
	for _, m := range traced.FindAllStringSubmatch(string(trace), -1) {
		n, _ := strconv.Atoi(m[2])
		sent[m[1]] += n
	}
	return sent
}

// A call that is interrupted by the report of another thread is reported as resumed.
var traced = regexp.MustCompile(`(splice|sendfile)(?:\(| resumed>).*= (\d+)\n`)

const kernelSize = 2 << 20

var fileCopies = map[string]func(dst *transport.Conn, f *os.File) (int64, error){
	"io.Copy":       func(dst *transport.Conn, f *os.File) (int64, error) { return io.Copy(dst, f) },
	"ReadFrom":      func(dst *transport.Conn, f *os.File) (int64, error) { return dst.ReadFrom(f) },
	"io.CopyN":      func(dst *transport.Conn, f *os.File) (int64, error) { return io.CopyN(dst, f, kernelSize) },
	"WriteTo":       func(dst *transport.Conn, f *os.File) (int64, error) { return f.WriteTo(dst) },
	"LimitedReader": func(dst *transport.Conn, f *os.File) (int64, error) { return io.Copy(dst, io.LimitReader(f, 1<<40)) },
	"SendFile":      func(dst *transport.Conn, f *os.File) (int64, error) { return dst.SendFile(f, 0, 0, 100_000) },
}

// TestKernelWorkload is run by TestKernelCopies under strace.
func TestKernelWorkload(t *testing.T) {
	if os.Getenv("GORANCH_KERNEL_WORKLOAD") == "" {
		return
	}
	receive := func(what, to string, copy func(dst *transport.Conn) (int64, error)) {
		dst, out := pairOf(t, to)
		got := async(func() (int64, error) { return io.Copy(new(checker), struct{ io.Reader }{out}) })
		if n, err := copy(dst); n != kernelSize || err != nil {
			t.Errorf("%s: got %d, %v, want all bytes", what, n, err)
		}
		dst.Close()
		if r := await(t, "the receiver", got); r.n != kernelSize || r.err != nil {
			t.Errorf("%s: receiver got %d, %v, want all bytes", what, r.n, r.err)
		}
	}
	for what, copyFile := range fileCopies {
		for _, to := range []string{"tcp", "tls1.3"} {
			receive(what, to, func(dst *transport.Conn) (int64, error) { return copyFile(dst, fileOf(t, kernelSize)) })
		}
	}
	receive("SendFile", "unix", func(dst *transport.Conn) (int64, error) {
		return dst.SendFile(fileOf(t, kernelSize), 0, kernelSize, 0)
	})
	for _, route := range [][2]string{{"tcp", "tcp"}, {"tcp", "tls1.3"}, {"tls1.3", "tcp"}} {
		src, in := pairOf(t, route[0])
		go func() {
			io.Copy(struct{ io.Writer }{in}, &stream{n: kernelSize})
			closeWrite(t, in)
		}()
		receive(route[0], route[1], func(dst *transport.Conn) (int64, error) { return io.Copy(dst, src) })
	}
}

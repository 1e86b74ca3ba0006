package protocoltest

import (
	"errors"
	"math/rand/v2"
	"net"
	"sync"
)

var errFlaky = errors.New("the connection is flaky")

// FlakyOptions are the settings of [NewFlaky]. A field that is zero changes nothing.
type FlakyOptions struct {
	// ReadBytes and WriteBytes are the numbers of bytes after which calls fail. The write that
	// exceeds the limit is executed in part. 0 and negative values are no limit.
	ReadBytes, WriteBytes int64
	// Chance is the probability, 0 to 1, with which a call of Read or Write fails. All later calls
	// fail too. Seed initializes the random numbers.
	Chance float64
	Seed   uint64
	// Most limits the bytes of one read, and of one write of nc. 0 and negative
	// values are no limit.
	Most int
	// Err is the error of calls that fail. nil is "the connection is flaky".
	Err error
}

// NewFlaky returns a connection over nc, which it owns, that fails or divides the data as opts
// says. Its methods may be called from any goroutine.
func NewFlaky(nc net.Conn, opts FlakyOptions) net.Conn {
	if opts.Err == nil {
		opts.Err = errFlaky
	}
	return &flaky{Conn: nc, FlakyOptions: opts, random: rand.New(rand.NewPCG(opts.Seed, opts.Seed))}
}

type flaky struct {
	net.Conn
	FlakyOptions

	mu                   sync.Mutex
	random               *rand.Rand
	bytesRead, bytesSent int64
	failed               bool
}

// fails reports whether a call fails by chance.
func (f *flaky) fails() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failed = f.failed || f.Chance > 0 && f.random.Float64() < f.Chance
	return f.failed
}

// allowed returns how many of n bytes may pass.
func (f *flaky) allowed(n int, limit int64, count *int64) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if limit > 0 {
		n = int(min(int64(n), limit-*count))
	}
	if f.Most > 0 {
		n = min(n, f.Most)
	}
	return n
}

func (f *flaky) add(count *int64, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	*count += int64(n)
}

func (f *flaky) Read(b []byte) (int, error) {
	n := f.allowed(len(b), f.ReadBytes, &f.bytesRead)
	if f.fails() || n == 0 && len(b) > 0 {
		return 0, f.Err
	}
	n, err := f.Conn.Read(b[:n])
	f.add(&f.bytesRead, n)
	return n, err
}

func (f *flaky) Write(b []byte) (done int, err error) {
	if f.fails() {
		return 0, f.Err
	}
	for done < len(b) && err == nil {
		n := f.allowed(len(b)-done, f.WriteBytes, &f.bytesSent)
		if n == 0 {
			return done, f.Err
		}
		n, err = f.Conn.Write(b[done : done+n])
		f.add(&f.bytesSent, n)
		done += n
	}
	return done, err
}

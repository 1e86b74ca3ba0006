package packet_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/conns"
	"goranch/protocol"
	"goranch/protocol/packet"
	"goranch/ranch"
	"goranch/transport"
)

const (
	maxFrame    = 256 << 10                             // the default
	readTimeout = 5 * time.Minute                       // the default
	update      = `{"jsonrpc":"2.0","method":"update"}` // a notification
)

// limitError is the last frame before a connection that has exceeded a limit is closed.
func limitError(message string) string {
	return failure(packet.CodeLimit, fmt.Sprintf("%q", message), "null")
}

const perFrame = len(update) + 4

var limitTests = []struct {
	name string
	opts packet.Options
	pass func(send func(string)) // stays within the limit
	over string                  // exceeds it
	want string
}{
	{"frames by default", packet.Options{}, func(send func(string)) {
		for range 400 {
			send(update)
		}
		time.Sleep(time.Second)
		for range 200 {
			send(update)
		}
	}, update, "bad input: rate limit exceeded: allowed are 200 frames per second, 400 in a burst"},
	{"frames", packet.Options{FramesPerSecond: 2, FramesBurst: 3}, func(send func(string)) {
		for range 3 {
			send(update)
		}
		for range 10 {
			time.Sleep(500 * time.Millisecond)
			send(update)
		}
		time.Sleep(4 * time.Minute) // the burst limits what accumulates
		for range 3 {
			send(update)
		}
	}, update, "bad input: rate limit exceeded: allowed are 2 frames per second, 3 in a burst"},
	{"bytes by default", packet.Options{}, func(send func(string)) {
		for range 8 {
			send(update + strings.Repeat(" ", maxFrame-perFrame))
		}
	}, update, "bad input: rate limit exceeded: allowed are 1048576 bytes per second, 2097152 in a burst"},
	{"bytes", packet.Options{MaxFrame: 300, BytesPerSecond: perFrame, BytesBurst: 304}, func(send func(string)) {
		send(update + strings.Repeat(" ", 300-len(update)))
		for range 3 {
			time.Sleep(time.Second)
			send(update)
		}
	}, update, fmt.Sprintf("bad input: rate limit exceeded: allowed are %d bytes per second, 304 in a burst", perFrame)},
	{"frame size", packet.Options{MaxFrame: 256}, func(send func(string)) { send(update + strings.Repeat(" ", 256-len(update))) },
		strings.Repeat(" ", 257), "bad input: frame too large: allowed are 256 bytes"},
}

// A frame that exceeds a limit gets one error that names the limit; then the connection ends.
func TestLimits(t *testing.T) {
	for _, c := range limitTests {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ended := make(chan error, 1)
				c.opts.OnEnd = func(_ *packet.Peer, err error) { ended <- err }
				s := newTestServer(t, c.opts)
				registerMethods(t, s.Server)
				nc := s.dial(t)
				c.pass(func(frame string) { send(t, nc, frame) })
				send(t, nc, c.over)
				if got := receive(t, nc); got != limitError(c.want) {
					t.Errorf("got %s\nwant %s", got, limitError(c.want))
				}
				wantEOF(t, nc)
				if got := s.reason(); got != conns.BadInput {
					t.Errorf("reason: got %v, want %v", got, conns.BadInput)
				}
				err := <-ended
				if tooLarge := c.name == "frame size"; !errors.Is(err, protocol.ErrBadInput) || errors.Is(err, protocol.ErrFrameTooLarge) != tooLarge {
					t.Errorf("OnEnd: got %v, want ErrBadInput, which is ErrFrameTooLarge: %t", err, tooLarge)
				}
			})
		})
	}
}

func TestNoLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, packet.Options{BytesPerSecond: -1, FramesPerSecond: -1, ReadTimeout: -1})
		registerMethods(t, s.Server)
		nc := s.dial(t)
		for range 100 {
			send(t, nc, strings.Repeat(" ", maxFrame-len(update))+update)
		}
		for range 1000 {
			send(t, nc, update)
		}
		time.Sleep(24 * time.Hour)
		got := call(t, nc, `{"jsonrpc":"2.0","method":"sum","params":[1],"id":1}`)
		if want := result("1", "1"); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

// A frame is refused by its length, before memory is allocated for it. A TCP client receives the
// error even if it is still sending.
func TestFrameTooLargeOverTCP(t *testing.T) {
	s, err := packet.NewServer(packet.Options{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := new(ranch.Server).StartListener("p", transport.TCP{}, ranch.Options{Addr: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler)}, s)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Stop()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 20 {
		nc, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		nc.SetDeadline(time.Now().Add(10 * time.Second))
		go nc.Write(append(binary.BigEndian.AppendUint32(nil, 1<<30), make([]byte, 10_000)...))
		if got, want := receive(t, nc), limitError("bad input: frame too large: allowed are 262144 bytes"); got != want {
			t.Errorf("got %s\nwant %s", got, want)
		}
		wantEOF(t, nc)
		nc.Close()
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 20<<20 {
		t.Errorf("20 frames of 1 GiB: got %d bytes allocated, want at most 20 MiB", n)
	}
}

func TestReadTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, packet.Options{})
		registerMethods(t, s.Server)
		nc := s.dial(t)
		for range 3 {
			time.Sleep(readTimeout - time.Second)
			send(t, nc, update)
		}
		began := time.Now()
		wantEOF(t, nc)
		if d := time.Since(began); d < readTimeout || d > readTimeout+time.Second {
			t.Errorf("ended after: got %v, want %v and up to 1s more", d, readTimeout)
		}
		if got := s.reason(); got != conns.TimedOut {
			t.Errorf("reason: got %v, want %v", got, conns.TimedOut)
		}
	})
}

func TestOptionFaults(t *testing.T) {
	_, err := packet.NewServer(packet.Options{BytesBurst: 1000, FramesBurst: -1, MaxFrame: 255, MaxBatch: -2, Queue: protocol.QueueOptions{MaxBytes: -3}})
	want := `option FramesBurst -1: allowed are positive numbers, and 0 for two seconds' worth
option MaxFrame 255: allowed are numbers from 256 to 2147483647, and 0 for 256 KiB
option MaxBatch -2: allowed are positive numbers, and 0 for 100
option Queue.MaxBytes -3: allowed are positive numbers, and 0 for 1 MiB`
	if err == nil {
		t.Fatal("got no error")
	}
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
	want = "option BytesBurst 1000: allowed are numbers from 262148, the longest frame and its length, and 0 for two seconds' worth"
	if _, err := packet.NewServer(packet.Options{BytesBurst: 1000}); err == nil || err.Error() != want {
		t.Errorf("burst below the longest frame:\n got %v\nwant %s", err, want)
	}
}

func TestRegisterErrors(t *testing.T) {
	s, err := packet.NewServer(packet.Options{})
	if err != nil {
		t.Fatal(err)
	}
	f := func(*packet.Call, struct{}) (any, error) { return nil, nil }
	if err := packet.Register(s, "a", f); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		f    func(*packet.Call, struct{}) (any, error)
		want string
	}{
		{"a", f, `register method "a": the name is taken`},
		{"", f, `register method: the name is empty`},
		{"rpc.x", f, `register method "rpc.x": names that begin with rpc. are reserved`},
		{"b", nil, `register method "b": the function is nil`},
	} {
		if err := packet.Register(s, c.name, c.f); err == nil || err.Error() != c.want {
			t.Errorf("%q: got %v, want %s", c.name, err, c.want)
		}
	}
}

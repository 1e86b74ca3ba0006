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

const tick = `{"jsonrpc":"2.0","method":"update"}` // a notification

func limit(s string) string {
	return failure(packet.CodeLimit, fmt.Sprintf("%q", s), "null")
}

// What exceeds a limit is answered by one error frame that names it, then by the end.
func TestLimits(t *testing.T) {
	const perFrame = len(tick) + 4
	for _, c := range []struct {
		name string
		opts packet.Options
		pass func(send func(string)) // within the limit
		over string
		says string
	}{
		{"frames by default", packet.Options{}, func(send func(string)) {
			for range 400 {
				send(tick)
			}
			time.Sleep(time.Second)
			for range 200 {
				send(tick)
			}
		}, tick, "bad input: too much in a second: allowed are 200 frames per second, 400 in a burst"},
		{"frames", packet.Options{FramesPerSecond: 2, FramesBurst: 3}, func(send func(string)) {
			for range 3 {
				send(tick)
			}
			for range 10 {
				time.Sleep(500 * time.Millisecond)
				send(tick)
			}
			time.Sleep(4 * time.Minute) // no more than the burst is saved up
			for range 3 {
				send(tick)
			}
		}, tick, "bad input: too much in a second: allowed are 2 frames per second, 3 in a burst"},
		{"bytes by default", packet.Options{}, func(send func(string)) {
			for range 8 {
				send(tick + strings.Repeat(" ", packet.MaxFrame-perFrame))
			}
		}, tick, "bad input: too much in a second: allowed are 1048576 bytes per second, 2097152 in a burst"},
		{"bytes", packet.Options{MaxFrame: 300, BytesPerSecond: perFrame, BytesBurst: 304}, func(send func(string)) {
			send(tick + strings.Repeat(" ", 300-len(tick)))
			for range 3 {
				time.Sleep(time.Second)
				send(tick)
			}
		}, tick, fmt.Sprintf("bad input: too much in a second: allowed are %d bytes per second, 304 in a burst", perFrame)},
		{"frame size", packet.Options{MaxFrame: 256}, func(send func(string)) { send(tick + strings.Repeat(" ", 256-len(tick))) },
			strings.Repeat(" ", 257), "bad input: frame too large: allowed are 256 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ended := make(chan error, 1)
				c.opts.OnEnd = func(_ *packet.Session, err error) { ended <- err }
				h := serve(t, c.opts)
				methods(t, h.Server)
				nc := h.dial(t)
				c.pass(func(s string) { send(t, nc, s) })
				send(t, nc, c.over)
				if got := receive(t, nc); got != limit(c.says) {
					t.Errorf("got %s\nwant %s", got, limit(c.says))
				}
				atEOF(t, nc)
				if r := h.reason(); r != conns.BadInput {
					t.Errorf("reason %v", r)
				}
				err := <-ended
				if !errors.Is(err, protocol.ErrBadInput) || errors.Is(err, packet.ErrLimit) == errors.Is(err, protocol.ErrFrameTooLarge) {
					t.Errorf("OnEnd got %v", err)
				}
			})
		})
	}
}

func TestNoLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := serve(t, packet.Options{BytesPerSecond: -1, FramesPerSecond: -1, ReadTimeout: -1})
		methods(t, h.Server)
		nc := h.dial(t)
		for range 100 {
			send(t, nc, strings.Repeat(" ", packet.MaxFrame-len(tick))+tick)
		}
		for range 1000 {
			send(t, nc, tick)
		}
		time.Sleep(24 * time.Hour)
		if got := ask(t, nc, `{"jsonrpc":"2.0","method":"sum","params":[1],"id":1}`); got != result("1", "1") {
			t.Errorf("got %s", got)
		}
	})
}

// A frame that is too long is refused by its announcement: over TCP too the client learns why,
// although it goes on sending, and nothing is allocated for it.
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
		if got, want := receive(t, nc), limit("bad input: frame too large: allowed are 262144 bytes"); got != want {
			t.Errorf("got %s\nwant %s", got, want)
		}
		atEOF(t, nc)
		nc.Close()
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 20<<20 {
		t.Errorf("%d bytes were allocated for 20 announcements of 1 GiB", n)
	}
}

func TestReadTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := serve(t, packet.Options{})
		methods(t, h.Server)
		nc := h.dial(t)
		for range 3 {
			time.Sleep(packet.DefaultReadTimeout - time.Second)
			send(t, nc, tick)
		}
		began := time.Now()
		atEOF(t, nc)
		if d := time.Since(began); d < packet.DefaultReadTimeout || d > packet.DefaultReadTimeout+time.Second {
			t.Errorf("ended after %v", d)
		}
		if r := h.reason(); r != conns.TimedOut {
			t.Errorf("reason %v", r)
		}
	})
}

func TestValidate(t *testing.T) {
	_, err := packet.NewServer(packet.Options{BytesBurst: 1000, FramesBurst: -1, MaxFrame: 255, MaxBatch: -2, Queue: protocol.QueueOptions{MaxBytes: -3}})
	want := `option FramesBurst -1: allowed are positive numbers, and 0 for two seconds' worth
option MaxFrame 255: allowed are numbers from 256 to 2147483647, and 0 for 256 KiB
option MaxBatch -2: allowed are positive numbers, and 0 for 100
option Queue.MaxBytes -3: allowed are positive numbers, and 0 for 1 MiB`
	if err == nil {
		t.Fatal("no error")
	}
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	if err := (packet.Options{BytesBurst: 1000}).Validate(); err == nil || !strings.Contains(err.Error(), "from 262148") {
		t.Errorf("a burst below the longest frame: %v", err)
	}
}

func TestRegisterErrors(t *testing.T) {
	s, err := packet.NewServer(packet.Options{})
	if err != nil {
		t.Fatal(err)
	}
	f := func(*packet.Call, packet.None) (any, error) { return nil, nil }
	if err := packet.Register(s, "a", f); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "", "rpc.x"} {
		if err := packet.Register(s, name, f); !errors.Is(err, packet.ErrMethod) {
			t.Errorf("%q: %v", name, err)
		}
	}
	f = nil
	if err := packet.Register(s, "b", f); !errors.Is(err, packet.ErrMethod) {
		t.Errorf("no function: %v", err)
	}
}

//go:build !race

package accesslog_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"
	"unsafe"

	"goranch/protocol"
	"goranch/ranch"
	"goranch/ranch/accesslog"
	"goranch/transport"
)

// The end of a connection with an access log fits into the smallest stack, 2 KiB: growing it would
// cost more than everything else that the log does. The test compares the addresses of a local
// variable of the protocol and of one of an observer that is called after the log. A stack that has
// grown is elsewhere. The allocator sometimes needs more stack, too.
func TestStackDoesNotGrow(t *testing.T) {
	log, err := accesslog.New(io.Discard, accesslog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var served uintptr
	l, err := new(ranch.Server).StartListener("test", transport.TCP{}, ranch.Options{
		Addr: "127.0.0.1:0", Observer: log.Observe, Logger: slog.New(slog.DiscardHandler),
	}, protocol.Func(func(context.Context, *transport.Conn) error {
		var here byte
		served = uintptr(unsafe.Pointer(&here))
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	ended, grown := make(chan struct{}), 0
	l.Observe(func(e ranch.Event) {
		if e.Kind != ranch.ConnEnded {
			return
		}
		var here byte
		if used := served - uintptr(unsafe.Pointer(&here)); used > 2048 { // also if it is negative
			grown++
		}
		ended <- struct{}{}
	})
	const n = 50
	for range n {
		nc, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-ended:
		case <-time.After(time.Minute):
			t.Fatal("a connection has not ended within a minute")
		}
		nc.Close()
	}
	if grown > n/2 {
		t.Errorf("got %d of %d stacks that have grown, want few", grown, n)
	}
	l.Stop()
	log.Close(context.Background())
}

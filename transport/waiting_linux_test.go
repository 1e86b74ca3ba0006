package transport_test

import (
	"net"
	"testing"
	"time"

	"goranch/internal/engine"
	"goranch/internal/idle"
	"goranch/transport"
)

// While many goroutines wait for data, a further connection is parked before its fourth read.
func TestManyWaitingReaders(t *testing.T) {
	inline := new(idle.InlinePolicy)
	type reader struct {
		peer   net.Conn
		result chan error
	}
	start := func() reader {
		srv, cli := kindNamed("tcp").pair(t, transport.TCP{})
		r := engine.Of(srv).PooledReader(inline)
		result := make(chan error, 1)
		go func() {
			defer r.Free()
			_, err := r.Next(engine.ReadSize)
			result <- err
		}()
		return reader{cli, result}
	}
	await := func(want int32) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); transport.Waiting() != want; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("waiting readers: got %d, want %d", transport.Waiting(), want)
			}
		}
	}
	end := func(r reader) {
		t.Helper()
		r.peer.Close()
		if err := <-r.result; err == nil || err == idle.ErrPark {
			t.Errorf("a waiting reader whose peer closes: got %v, want EOF", err)
		}
	}
	var readers []reader
	for range transport.MaxWaiting {
		readers = append(readers, start())
	}
	await(transport.MaxWaiting)
	select {
	case err := <-start().result:
		if err != idle.ErrPark {
			t.Errorf("a reader beyond those: got %v, want ErrPark", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("a reader beyond those: waits, want ErrPark")
	}
	end(readers[0])
	readers[0] = start()
	await(transport.MaxWaiting)
	for _, r := range readers {
		end(r)
	}
	await(0)
}

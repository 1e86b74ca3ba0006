package relay_test

import (
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"goranch/conns"
	"goranch/protocol/relay"
	"goranch/ranch"
)

// When the listener stops, idle connections end after DrainIdle, and others continue.
func TestDrain(t *testing.T) {
	bubble(t, "idle", func(t *testing.T) {
		f := newFront(t, relay.Options{Upstreams: upstreams("a")}, ranch.Options{ShutdownTimeout: time.Minute})
		f.serve("a", echoes)
		nc := f.dial()
		io.WriteString(nc, "x")
		wantRead(t, nc, "x")
		start := time.Now()
		f.l.Stop()
		if d := time.Since(start); d < time.Second || d > 2*time.Second {
			t.Errorf("got a stop that took %v, want about 1s", d)
		}
		f.wantEnd(conns.Shutdown)
		wantReadError(t, nc, io.EOF)
	})
	bubble(t, "active", func(t *testing.T) {
		f := newFront(t, relay.Options{Upstreams: upstreams("a")}, ranch.Options{ShutdownTimeout: time.Minute})
		f.serve("a", echoes)
		nc := f.dial()
		synctest.Wait()
		go f.l.Stop()
		for range 20 {
			after(500 * time.Millisecond)
			io.WriteString(nc, "x")
			wantRead(t, nc, "x")
		}
		closeWrite(nc)
		wantReadError(t, nc, io.EOF)
		f.wantEnd(conns.PeerClosed)
	})
	bubble(t, "never idle", func(t *testing.T) {
		f := newFront(t, relay.Options{Upstreams: upstreams("a")}, ranch.Options{ShutdownTimeout: 5 * time.Second})
		f.serve("a", func(nc net.Conn) {
			for {
				if _, err := io.WriteString(nc, "tick"); err != nil {
					return
				}
				time.Sleep(100 * time.Millisecond)
			}
		})
		nc := f.dial()
		go io.Copy(io.Discard, nc)
		synctest.Wait()
		if err := f.l.Stop(); err != nil {
			t.Errorf("Stop: got %v, want no error", err)
		}
		f.wantEnd(conns.Aborted)
	})
	bubble(t, "without DrainIdle", func(t *testing.T) {
		o := relay.Options{Upstreams: upstreams("a"), DrainIdle: -1}
		f := newFront(t, o, ranch.Options{ShutdownTimeout: 5 * time.Second})
		f.serve("a", echoes)
		f.dial()
		synctest.Wait()
		if err := f.l.Stop(); err != nil {
			t.Errorf("Stop: got %v, want no error", err)
		}
		f.wantEnd(conns.Aborted)
	})
}

// The copy from a silent upstream does not notice by itself that the client, which has ended its
// stream, was closed at the shutdown timeout.
func TestShutdownTimeoutAfterHalfClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := relay.Options{Upstreams: upstreams("a"), DrainIdle: -1}
		f := newFront(t, o, ranch.Options{ShutdownTimeout: 5 * time.Second})
		f.serve("a", func(net.Conn) { <-t.Context().Done() })
		closeWrite(f.dial())
		synctest.Wait()
		if err := f.l.Stop(); err != nil {
			t.Errorf("Stop: got %v, want no error", err)
		}
		f.wantEnd(conns.Aborted)
	})
}

// An upstream that accepts and never reads does not keep a connection that is to end, whatever the
// reason and whether the client has ended its stream.
func TestStopOfBlockedConnection(t *testing.T) {
	for name, halfClosed := range map[string]bool{"the client sends": false, "the client has ended": true} {
		block := func(t *testing.T, ro ranch.Options) *front {
			f := newFront(t, relay.Options{Upstreams: upstreams("a")}, ro)
			f.serve("a", func(nc net.Conn) { <-t.Context().Done() })
			nc := f.dial()
			if halfClosed {
				io.WriteString(nc, "x")
				closeWrite(nc)
			} else {
				go nc.Write(make([]byte, 1<<20))
			}
			synctest.Wait()
			return f
		}
		bubble(t, name+", stop", func(t *testing.T) {
			f := block(t, ranch.Options{ShutdownTimeout: 3 * time.Second})
			if err := f.l.Stop(); err != nil {
				t.Errorf("Stop: got %v, want no error", err)
			}
			if e := <-f.ends; e.Reason != conns.Shutdown && e.Reason != conns.Aborted {
				t.Errorf("got the end %v, want Shutdown or Aborted", e.Reason)
			}
		})
		bubble(t, name+", kill", func(t *testing.T) {
			f := block(t, ranch.Options{})
			start := time.Now()
			f.l.Kill(conns.Query{})
			f.wantEnd(conns.Killed)
			if d := time.Since(start); d > time.Second {
				t.Errorf("got an end after %v, want it at once", d)
			}
		})
		bubble(t, name+", idle timeout", func(t *testing.T) {
			f := block(t, ranch.Options{Limits: conns.Limits{IdleTimeout: 30 * time.Second}, ShutdownTimeout: time.Second})
			start := time.Now()
			f.wantEnd(conns.IdleTimeout)
			if d := time.Since(start); d < 29*time.Second || d > 33*time.Second {
				t.Errorf("got an end after %v, want it after 30s", d)
			}
		})
	}
}

// Traffic in one direction keeps a connection from being idle.
func TestIdleTimeoutSeesBothDirections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFront(t, relay.Options{Upstreams: upstreams("a")}, ranch.Options{Limits: conns.Limits{IdleTimeout: 10 * time.Second}})
		f.serve("a", func(nc net.Conn) {
			for range 10 {
				time.Sleep(5 * time.Second)
				io.WriteString(nc, "x")
			}
		})
		nc := f.dial()
		wantRead(t, nc, "xxxxxxxxxx")
		nc.Close()
		if e := <-f.ends; e.Reason != conns.Finished && e.Reason != conns.PeerClosed {
			t.Errorf("got the end %v, want that of the streams", e.Reason)
		}
	})
}

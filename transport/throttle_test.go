package transport_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"goranch/internal/engine"
	"goranch/internal/throttle"
	"goranch/transport"
)

// limitedMem returns a connection in memory with limited rates, and its client.
func limitedMem(tb testing.TB, l *throttle.Limits, useTLS bool) (*transport.Conn, net.Conn) {
	tb.Helper()
	client, server := memConns(tb)
	var t transport.Transport = new(transport.Mem)
	if useTLS {
		t, client = transport.TLS{Config: testTLS()}, tls.Client(client, testTLS())
	}
	srv := transport.NewConn(t, server)
	if useTLS {
		go client.(*tls.Conn).Handshake()
		if err := srv.Handshake(tb.Context()); err != nil {
			tb.Fatal(err)
		}
	}
	tb.Cleanup(func() { srv.Close(); client.Close() })
	engine.Of(srv).LimitRates(l)
	return srv, client
}

func rates(d throttle.Direction, connection, total int) (r throttle.Rates) {
	r.Connection[d], r.Total[d] = connection, total
	return r
}

// flood writes zeros until that fails.
func flood(w io.Writer) {
	for p := make([]byte, 10_000); ; {
		if _, err := w.Write(p); err != nil {
			return
		}
	}
}

// Each way to transfer data keeps the rate, exactly over 10 s.
func TestRateIsExact(t *testing.T) {
	buffer := make([]byte, 100_000)
	for _, c := range []struct {
		name     string
		receives bool
		run      func(srv *transport.Conn) // until the connection is closed
	}{
		{"Read", true, func(srv *transport.Conn) {
			for {
				if _, err := srv.Read(buffer); err != nil {
					return
				}
			}
		}},
		{"WriteTo", true, func(srv *transport.Conn) { srv.WriteTo(io.Discard) }},
		{"Write", false, func(srv *transport.Conn) { flood(srv) }},
		{"small writes", false, func(srv *transport.Conn) {
			for {
				if _, err := srv.Write(buffer[:10]); err != nil {
					return
				}
			}
		}},
		{"ReadFrom", false, func(srv *transport.Conn) { srv.ReadFrom(zeros{}) }},
		{"TryWrite", false, func(srv *transport.Conn) {
			for {
				if _, err := engine.Of(srv).TryWrite(buffer[:100]); err != nil {
					return
				}
				time.Sleep(time.Millisecond)
			}
		}},
	} {
		for _, useTLS := range []bool{false, true} {
			for _, rate := range []int{1000, 123_456, 50 << 20} {
				if c.name == "TryWrite" && (useTLS || rate > 100_000) || rate > 10_000 && c.name == "small writes" || rate > 1<<20 && useTLS {
					continue // slower than the rate, or than a test should be
				}
				name := c.name
				if useTLS {
					name += " over TLS"
				}
				t.Run(name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						d := throttle.Send
						if c.receives {
							d = throttle.Receive
						}
						l := new(throttle.Limits)
						l.Set(rates(d, rate, 0))
						srv, client := limitedMem(t, l, useTLS)
						var wg sync.WaitGroup
						if c.receives {
							wg.Go(func() { flood(client) })
						} else {
							wg.Go(func() { io.Copy(io.Discard, client) })
						}
						wg.Go(func() { c.run(srv) })
						const period = 10 * time.Second
						time.Sleep(period)
						st := srv.Stats()
						got, want := float64(st.BytesRead+st.BytesWritten), float64(rate)*period.Seconds()
						if got < 0.99*want || got > 1.01*want {
							t.Errorf("got %.0f bytes in %v, want %.0f, give or take 1 %%", got, period, want)
						}
						srv.Abort()
						client.Close()
						wg.Wait()
					})
				})
			}
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// A limit for all connections together is shared fairly by those that have data, also if idle ones
// read at the same time and some connect later.
func TestTotalRateIsShared(t *testing.T) {
	const rate, busy, idle = 100_000, 50, 20
	for _, d := range []throttle.Direction{throttle.Receive, throttle.Send} {
		t.Run([]string{"receive", "send"}[d], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := new(throttle.Limits)
				l.Set(rates(d, 0, rate))
				var wg sync.WaitGroup
				t.Cleanup(wg.Wait) // runs last
				var all []*transport.Conn
				for n := range busy + idle {
					srv, client := limitedMem(t, l, false)
					from, to := client, net.Conn(srv)
					if d == throttle.Send {
						from, to = to, from
					}
					wg.Go(func() { io.Copy(io.Discard, to) })
					if n < busy {
						all = append(all, srv)
						wg.Go(func() { flood(from) })
					}
					t.Cleanup(func() { srv.Abort(); client.Close() })
				}
				time.Sleep(10 * time.Second)
				var sum float64
				for n, srv := range all {
					st := srv.Stats()
					got := float64(st.BytesRead + st.BytesWritten)
					if want := 10.0 * rate / busy; got < 0.9*want || got > 1.1*want {
						t.Errorf("connection %d: got %.0f bytes, want %.0f, give or take 10 %%", n, got, want)
					}
					sum += got
				}
				// Each read of the last turn has counted its bytes, and waits for them.
				if want := 10.0 * rate; sum < 0.99*want || sum > 1.02*want {
					t.Errorf("got %.0f bytes of all connections, want %.0f, give or take 1 %%", sum, want)
				}
			})
		})
	}
}

// A change applies to transfers that wait.
func TestRateChanges(t *testing.T) {
	for _, next := range []int{1 << 30, 0} {
		synctest.Test(t, func(t *testing.T) {
			l := new(throttle.Limits)
			l.Set(rates(throttle.Send, 1, 0))
			srv, client := limitedMem(t, l, false)
			go io.Copy(io.Discard, client)
			done := make(chan error, 1)
			begin := time.Now()
			go func() {
				_, err := srv.Write(make([]byte, 1<<20))
				done <- err
			}()
			time.Sleep(5500 * time.Millisecond)
			if n := srv.Stats().BytesWritten; n != 5 {
				t.Errorf("got %d bytes in 5.5 s at 1 per second, want 5", n)
			}
			l.Set(rates(throttle.Send, next, 0))
			if err := <-done; err != nil {
				t.Error(err)
			}
			if took := time.Since(begin); took > 5600*time.Millisecond {
				t.Errorf("rate %d: got the end of the write after %v, want 5.5s", next, took)
			}
			srv.Close()
		})
	}
}

// A transfer that waits for its turn is interrupted at once, by whatever interrupts others.
func TestWaitForRateIsInterrupted(t *testing.T) {
	read := func(srv *transport.Conn) error {
		for p := make([]byte, 10); ; {
			if _, err := srv.Read(p); err != nil {
				return err
			}
		}
	}
	write := func(srv *transport.Conn) error {
		_, err := srv.Write(make([]byte, 1000))
		return err
	}
	errStop := errors.New("stop")
	for _, c := range []struct {
		name      string
		transfer  func(*transport.Conn) error
		interrupt func(*transport.Conn)
		want      error
	}{
		{"read: stop", read, func(c *transport.Conn) { c.StopReading(errStop) }, errStop},
		{"read: abort", read, func(c *transport.Conn) { c.Abort() }, net.ErrClosed},
		{"read: close", read, func(c *transport.Conn) { c.Close() }, net.ErrClosed},
		{"read: deadline", read, func(c *transport.Conn) { c.SetReadDeadline(time.Unix(1, 0)) }, os.ErrDeadlineExceeded},
		{"read: deadline later", read, func(c *transport.Conn) { c.SetDeadline(time.Now().Add(time.Second)) }, os.ErrDeadlineExceeded},
		{"write: abort", write, func(c *transport.Conn) { c.Abort() }, net.ErrClosed},
		{"write: close", write, func(c *transport.Conn) { c.Close() }, net.ErrClosed},
		{"write: deadline", write, func(c *transport.Conn) { c.SetWriteDeadline(time.Unix(1, 0)) }, os.ErrDeadlineExceeded},
		{"write: deadline later", write, func(c *transport.Conn) { c.SetDeadline(time.Now().Add(time.Second)) }, os.ErrDeadlineExceeded},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := new(throttle.Limits)
				l.Set(throttle.Rates{Connection: [2]int{1, 1}, Total: [2]int{1, 1}})
				srv, client := limitedMem(t, l, false)
				client.Write(make([]byte, 1000))
				done := make(chan error, 1)
				go func() { done <- c.transfer(srv) }()
				time.Sleep(3 * time.Second)
				if engine.Of(srv).RequestPark() && c.want != errStop {
					if _, reads, _ := engine.Of(srv).Throttled(); reads {
						t.Error("RequestPark: got true for a connection with a read that waits, want false")
					}
				}
				begin := time.Now()
				c.interrupt(srv)
				if err := <-done; !errors.Is(err, c.want) {
					t.Errorf("got %v, want %v", err, c.want)
				}
				if took := time.Since(begin); took > time.Second {
					t.Errorf("got the end after %v, want at most 1s", took)
				}
			})
		})
	}
}

// Limited writes of several goroutines are not interleaved.
func TestLimitedWritesAreNotInterleaved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := new(throttle.Limits)
		l.Set(rates(throttle.Send, 10_000, 5_000))
		srv, client := limitedMem(t, l, false)
		const size = 5000
		for n := range 4 {
			go srv.Write(bytes.Repeat([]byte{byte(n)}, size))
		}
		for range 4 {
			got := make([]byte, size)
			if _, err := io.ReadFull(client, got); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, bytes.Repeat(got[:1], size)) {
				t.Fatal("got interleaved writes, want one after the other")
			}
		}
	})
}

// On each kind of connection limited data arrives unchanged, not before its time.
func TestLimitedTransfers(t *testing.T) {
	data := make([]byte, 100_000)
	for i := range data {
		data[i] = byte(i * i >> 8)
	}
	file := newFile(t, data)
	for _, way := range []struct {
		name string
		send func(srv *transport.Conn) (int64, error)
	}{
		{"Write", func(srv *transport.Conn) (int64, error) { n, err := srv.Write(data); return int64(n), err }},
		{"SendFile", func(srv *transport.Conn) (int64, error) { return srv.SendFile(file, 0, 0, 0) }},
		{"ReadFrom", func(srv *transport.Conn) (int64, error) {
			file.Seek(0, io.SeekStart)
			return srv.ReadFrom(file)
		}},
		{"echo", func(srv *transport.Conn) (int64, error) { return srv.WriteTo(srv) }},
	} {
		t.Run(way.name, func(t *testing.T) {
			eachKind(t, func(t *testing.T, k kind) {
				srv, client := k.pair(t, transport.TCP{})
				l := new(throttle.Limits)
				const rate = 2_000_000
				l.Set(throttle.Rates{Connection: [2]int{rate, rate}, Total: [2]int{2 * rate, 2 * rate}})
				engine.Of(srv).LimitRates(l)
				if way.name == "echo" {
					go client.Write(data)
				}
				begin := time.Now()
				sent := async(func() (int64, error) { return way.send(srv) })
				got := make([]byte, len(data))
				if _, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, data) {
					t.Errorf("got other data, or %v", err)
				}
				// The last pieces may be in flight, and 50 ms are free.
				if took := time.Since(begin); took < 40*time.Millisecond-5*time.Millisecond {
					t.Errorf("got the data after %v, want at least 35ms", took)
				}
				if way.name != "echo" { // which ends with the connection
					if r := await(t, way.name, sent); r.n != int64(len(data)) || r.err != nil {
						t.Errorf("got %d bytes, %v, want %d", r.n, r.err, len(data))
					}
				}
			})
		})
	}
}

func newFile(t *testing.T, data []byte) *os.File {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := f.Write(data); err != nil {
		t.Fatal(err)
	}
	return f
}

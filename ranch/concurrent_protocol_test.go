package ranch_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"

	"goranch/protocol"
	"goranch/ranch"
	"goranch/transport"
)

// A protocol may start goroutines: here one reads while Serve waits for several inputs. All have
// returned when Stop returns.
func TestGoroutinesOfAConnection(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		news, cause := make(chan string), make(chan error, 1)
		l, _ := m.startListener(t, ranch.Options{ShutdownTimeout: ranch.Infinity}, protocol.Func(func(ctx context.Context, conn *transport.Conn) error {
			var own sync.WaitGroup
			defer own.Wait()
			received, ended := make(chan byte), make(chan error, 1)
			own.Go(func() {
				for b := make([]byte, 1); ; {
					if _, err := conn.Read(b); err != nil {
						ended <- err
						return
					}
					received <- b[0]
				}
			})
			conn.Write([]byte{greeting})
			for {
				select {
				case b := <-received:
					conn.Write([]byte{b})
				case s := <-news:
					io.WriteString(conn, s)
				case err := <-ended:
					cause <- context.Cause(ctx)
					return err
				}
			}
		}))
		v := m.servedClients(t, l, 1)[0]
		expect := func(want string) {
			t.Helper()
			got := make([]byte, len(want))
			if _, err := io.ReadFull(v.nc, got); err != nil || string(got) != want {
				t.Fatalf("got %q, %v, want %q", got, err, want)
			}
		}
		for range 3 {
			news <- "news"
			expect("news")
			io.WriteString(v.nc, "x")
			expect("x")
		}
		if err := callWithTimeout(t, "Stop returns", l.Stop); err != nil {
			t.Fatal(err)
		}
		if err := <-cause; !errors.Is(err, protocol.ErrShutdown) {
			t.Errorf("got cause %v, want %v", err, protocol.ErrShutdown)
		}
	})
}

package conns_test

import (
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"goranch/conns"
	"goranch/transport"
)

// drainer reads one message after it was asked to stop, and answers it.
type drainer struct{}

func (drainer) DrainsItself() {}
func (drainer) Serve(ctx context.Context, conn *transport.Conn) error {
	<-ctx.Done()
	_, err := io.CopyN(conn, conn, 4)
	return err
}

// A Drainer can read after it was asked to stop, until the limit.
func TestDrainerReadsOn(t *testing.T) {
	for name, tt := range map[string]struct {
		send  string
		want  conns.Reason
		after time.Duration
	}{
		"in time":  {"last", conns.Shutdown, 0},
		"too late": {"", conns.Aborted, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				gate := conns.NewGate(1)
				ends := make(chan conns.ConnEnd, 1)
				sup := conns.New(conns.Config{Gate: gate, Ended: func(e conns.ConnEnd) { ends <- e }})
				gate.Reserve(t.Context())
				gate.Confirm(t.Context())
				server, client := net.Pipe()
				defer client.Close()
				sup.Start(context.Background(), fake{plain: true}, server, drainer{})
				synctest.Wait()
				begin, limit := time.Now(), make(chan error, 1)
				go func() {
					ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
					defer cancel()
					limit <- sup.Drain(ctx, conns.DrainOptions{})
				}()
				synctest.Wait()
				if tt.send != "" {
					got := make([]byte, len(tt.send))
					go io.WriteString(client, tt.send)
					if _, err := io.ReadFull(client, got); err != nil || string(got) != tt.send {
						t.Errorf("got %q, %v, want %q, nil", got, err, tt.send)
					}
				}
				if err := <-limit; err != nil {
					t.Errorf("Drain: got %v, want nil", err)
				}
				if e := <-ends; e.Reason != tt.want || time.Since(begin) != tt.after {
					t.Errorf("got %v (%v) after %v, want %v after %v", e.Reason, e.Err, time.Since(begin), tt.want, tt.after)
				}
			})
		})
	}
}

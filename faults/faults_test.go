package faults_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/faults"
	"goranch/transport"
)

// The same seed makes the same decisions, and derived sources do not depend on what was drawn.
func TestSource(t *testing.T) {
	draw := func(s *faults.Source) (all []int) {
		for range 20 {
			all = append(all, s.IntN(1000))
		}
		return all
	}
	a, b := faults.NewSource(7), faults.NewSource(7)
	drawn := draw(a)
	if diff := cmp.Diff(drawn, draw(b)); diff != "" {
		t.Errorf("seed 7 twice: %s", diff)
	}
	if diff := cmp.Diff(draw(a.Derive(3)), draw(faults.NewSource(7).Derive(3))); diff != "" {
		t.Errorf("derived: %s", diff)
	}
	if cmp.Equal(drawn, draw(faults.NewSource(8))) || cmp.Equal(drawn, draw(a.Derive(0))) || cmp.Equal(draw(a.Derive(0)), draw(a.Derive(1))) {
		t.Error("got the same numbers from different sources")
	}
	if a.Chance(0) || !a.Chance(1) {
		t.Error("got chances 0 and 1 wrong")
	}
	if got := faults.NewSource(0).Between(time.Second, time.Second); got != time.Second {
		t.Errorf("Between: got %v, want 1s", got)
	}
}

// All kinds of errors of accept occur, and no accepted connection is lost between them.
func TestAcceptFaults(t *testing.T) {
	tr := faults.NewTransport(new(transport.Mem), faults.NewSource(1), faults.Options{})
	ln, err := tr.Listen(context.Background(), "accept")
	if err != nil {
		t.Fatal(err)
	}
	tr.Set(faults.Rates{Accept: 1})
	seen, panics := map[error]bool{}, 0
	for len(seen) < 10 || panics == 0 {
		func() {
			defer func() {
				if recover() != nil {
					panics++
				}
			}()
			if nc, err := tr.Dial(context.Background(), "accept"); err == nil { // for accept to lose
				defer nc.Close()
			}
			_, err := ln.Accept()
			for _, e := range []error{
				syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.EPERM, syscall.EAGAIN,
				syscall.EPROTO, syscall.ECONNRESET, net.ErrClosed,
			} {
				if errors.Is(err, e) {
					seen[e] = true
				}
			}
		}()
		if seen[net.ErrClosed] && tr.CloseSockets() == 0 {
			tr.Set(faults.Rates{})
			if ln, err = tr.Listen(context.Background(), "accept"); err != nil {
				t.Fatal(err)
			}
			tr.Set(faults.Rates{Accept: 1})
		}
	}
	if tr.Failed() == 0 || tr.Accepted() != 0 {
		t.Errorf("got %d failed and %d accepted, want some and none", tr.Failed(), tr.Accepted())
	}
	tr.CloseSockets()
}

// Streams that are only delayed, split, merged and stalled arrive complete in both directions; the
// others arrive as a beginning of what was sent, and are reported as lossy.
func TestProxyStreams(t *testing.T) {
	for _, c := range []struct {
		name   string
		stream faults.Stream
		lossy  bool
	}{
		{"as they are", faults.Stream{}, false},
		{"lossless", faults.Stream{Delay: 0.3, Stall: 0.1, Split: 0.5, Merge: 0.5}, false},
		{"truncated", faults.Stream{Truncate: 1}, true},
		{"half-closed", faults.Stream{HalfClose: 1}, true},
		{"reset", faults.Stream{Reset: 1}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mem := new(transport.Mem)
				ln, _ := mem.Listen(context.Background(), "proxy")
				defer ln.Close()
				pair := func() (a, b net.Conn) {
					a, err := mem.Dial(context.Background(), "proxy")
					if err != nil {
						t.Fatal(err)
					}
					if b, err = ln.Accept(); err != nil {
						t.Fatal(err)
					}
					return a, b
				}
				client, down := pair()
				up, server := pair()
				p := faults.Proxy{Source: faults.NewSource(1), Stream: c.stream}
				link := p.Link(down, up)
				go func() { // an echo
					io.Copy(server, server)
					server.Close()
				}()
				sent := bytes.Repeat([]byte("0123456789"), 5000)
				go func() {
					client.Write(sent)
					client.(interface{ CloseWrite() error }).CloseWrite()
				}()
				got, err := io.ReadAll(client)
				client.Close()
				link.Wait()
				if !bytes.HasPrefix(sent, got) || link.Lossy() != c.lossy || !c.lossy && (len(got) != len(sent) || err != nil) {
					t.Errorf("got %d of %d bytes, %v, lossy %v, want a prefix, lossy %v", len(got), len(sent), err, link.Lossy(), c.lossy)
				}
			})
		})
	}
}

// Faults of reads and writes are errors, never wrong or silently missing bytes.
func TestConnFaults(t *testing.T) {
	tr := faults.NewTransport(new(transport.Mem), faults.NewSource(1), faults.Options{Sources: 3})
	ln, err := tr.Listen(context.Background(), "conn")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	sources := map[string]bool{}
	for range 200 {
		client, err := tr.Dial(context.Background(), "conn")
		if err != nil {
			t.Fatal(err)
		}
		nc, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		host, _, _ := net.SplitHostPort(nc.RemoteAddr().String())
		sources[host] = true
		tr.Set(faults.Rates{Read: 0.2, Write: 0.2, Partial: 0.5})
		fmt.Fprint(client, "0123456789")
		got, want := make([]byte, 10), "0123456789"
		n := 0
		for range 20 {
			m, err := nc.Read(got[n:])
			if n += m; err != nil || n == len(got) {
				break
			}
		}
		if string(got[:n]) != want[:n] {
			t.Errorf("got %q, want a prefix of %q", got[:n], want)
		}
		nc.Close()
		client.Close()
		tr.Set(faults.Rates{})
	}
	if len(sources) != 3 {
		t.Errorf("got %d source addresses, want 3", len(sources))
	}
}

package transport_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"

	"goranch/internal/engine"
	"goranch/transport"
)

// wrapper wraps a transport and hides its optional interfaces.
type wrapper struct{ transport.Transport }

func (w wrapper) Unwrap() transport.Transport { return w.Transport }

// A wrapper of a nil transport has no send timeout, and does not panic.
func TestWrappedNil(t *testing.T) {
	a, b := net.Pipe()
	defer b.Close()
	transport.NewConn(wrapper{}, a).Close()
}

// Between the steps of Dial, plain text can be sent.
func TestStepsOfTLS(t *testing.T) {
	tr := transport.TLS{Config: testTLS()}
	ln := listen(t, tr, "127.0.0.1:0")
	steps, ok := engine.StepsOf(tr)
	if !ok {
		t.Fatal("got no steps, want those of TLS")
	}
	done := async(func() (int64, error) {
		addr := ln.Addr().String()
		nc, err := steps.Connect(t.Context(), addr)
		if err != nil {
			return 0, err
		}
		io.WriteString(nc, "before")
		nc, err = steps.Client(t.Context(), nc, addr)
		if err != nil {
			return 0, err
		}
		defer nc.Close()
		n, err := nc.Write([]byte("after"))
		return int64(n), err
	})
	srv := accept(t, transport.TCP{}, ln)
	before := make([]byte, 6)
	if _, err := io.ReadFull(srv, before); err != nil || string(before) != "before" {
		t.Fatalf("got %q, %v, want before", before, err)
	}
	if err := srv.Upgrade(t.Context(), tr); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(srv); string(got) != "after" || err != nil {
		t.Errorf("got %q, %v, want after", got, err)
	}
	if r := await(t, "the client", done); r.err != nil {
		t.Errorf("client: got %v, want no error", r.err)
	}
}

// Client closes the connection on error.
func TestStepsOfTLSCloseOnError(t *testing.T) {
	a, b := net.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	steps, _ := engine.StepsOf(transport.TLS{Config: &tls.Config{ServerName: "x"}})
	if _, err := steps.Client(ctx, a, "x:1"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if _, err := b.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("read of the peer: got %v, want EOF", err)
	}
}

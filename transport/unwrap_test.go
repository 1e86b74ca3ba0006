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

// wrapper is a transport around another, whose interface hides what that one has besides.
type wrapper struct{ transport.Transport }

func (w wrapper) Unwrap() transport.Transport { return w.Transport }

// TestWrappedNothing: a wrapper around nothing has no send timeout, and no panic.
func TestWrappedNothing(t *testing.T) {
	a, b := net.Pipe()
	defer b.Close()
	transport.NewConn(wrapper{}, a).Close()
}

// TestTLSInTwoSteps: between them, something can be said in plain text.
func TestTLSInTwoSteps(t *testing.T) {
	tr := transport.TLS{Config: testTLS()}
	ln := listen(t, tr, "127.0.0.1:0")
	steps, ok := engine.DialSteps(tr)
	if !ok {
		t.Fatal("got no steps")
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
		t.Fatalf("%q, %v", before, err)
	}
	if err := srv.Upgrade(t.Context(), tr); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(srv); string(got) != "after" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if r := await(t, "the client", done); r.err != nil {
		t.Error(r.err)
	}
}

// TestTLSClientClosesOnError what it was given.
func TestTLSClientClosesOnError(t *testing.T) {
	a, b := net.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	steps, _ := engine.DialSteps(transport.TLS{Config: &tls.Config{ServerName: "x"}})
	if _, err := steps.Client(ctx, a, "x:1"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := b.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the connection is open: %v", err)
	}
}

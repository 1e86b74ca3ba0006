package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"

	"goranch/protocol"
	"goranch/ranch"
	"goranch/transport"
)

// adapter is a listener of mochi-mqtt that runs on a listener of goranch.
type adapter struct {
	ref       string
	transport transport.Transport
	opts      ranch.Options
	listener  *ranch.Listener
	ready     chan struct{} // closed when establish is set
	establish listeners.EstablishFn
}

func newAdapter(ref string, t transport.Transport, opts ranch.Options) *adapter {
	return &adapter{ref: ref, transport: t, opts: opts, ready: make(chan struct{})}
}

func (a *adapter) ID() string       { return a.ref }
func (a *adapter) Protocol() string { return a.transport.Name() }
func (a *adapter) Address() string  { return a.listener.Addr().String() }

// Init opens the listening socket.
func (a *adapter) Init(*slog.Logger) (err error) {
	a.listener, err = ranch.StartListener(a.ref, a.transport, a.opts, session{a})
	return err
}

// Serve lets the broker take connections.
func (a *adapter) Serve(establish listeners.EstablishFn) {
	a.establish = establish
	close(a.ready)
}

// Close stops accepting, sends DISCONNECT to the clients, and waits for the connections.
func (a *adapter) Close(closeClients listeners.CloseFn) {
	a.listener.Suspend()
	closeClients(a.ref)
	a.listener.Stop()
}

// session is the protocol of the listener.
type session struct{ *adapter }

func (s session) Serve(ctx context.Context, conn *transport.Conn) error {
	select {
	case <-s.ready:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	err := s.establish(s.ref, conn)
	var code packets.Code
	if errors.As(err, &code) && code.Code >= packets.ErrUnspecifiedError.Code && code != packets.ErrServerShuttingDown {
		return fmt.Errorf("%w: %w", protocol.ErrBadInput, err) // counted as a fault of the client
	}
	return err
}

// Refuse answers the CONNECT of a client with "server unavailable", or "server busy" since MQTT 5.
func (session) Refuse(_ context.Context, conn *transport.Conn, _ error) {
	connect, err := conn.Peek(10) // a CONNECT is longer
	if err != nil {
		return
	}
	const name = "\x00\x04MQTT" // before it: the type and the length of the packet; after it: the version
	i := bytes.Index(connect, []byte(name))
	if i < 0 || i+len(name) == len(connect) {
		return
	}
	answer := "\x20\x02\x00\x03"
	if connect[i+len(name)] >= 5 {
		answer = "\x20\x03\x00\x89\x00"
	}
	io.WriteString(conn, answer)
}

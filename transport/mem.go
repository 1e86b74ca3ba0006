package transport

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
)

const (
	memNetwork        = "mem"
	defaultMemBacklog = 128
)

// Mem is an in-memory transport for tests, and for servers and clients in one program. It opens no
// socket, and works in a bubble of testing/synctest: all its waits are durably blocking.
//
// The zero value is ready to use. Each Mem has names of its own, so clients need the Mem on which
// their server listens. Its methods may be called from any goroutine. A Mem must not be copied.
//
// Connections behave as TCP connections on Linux do, with a buffer of 64 KiB in each direction,
// half-close, SetLinger, deadlines and the same errors. An idle connection holds neither buffer nor
// goroutine. Both ends must be closed: unlike a socket, an unreachable end is never closed for its
// peer.
type Mem struct {
	// Backlog is the number of connections that each listener queues for Accept; with a full queue,
	// Dial waits. 0 is 128; negative values are refused by Listen.
	Backlog int

	mu        sync.RWMutex // guards the fields below; not held together with the mutex of a listener
	listeners map[string]*memListener
	names     uint64 // names generated so far

	clients atomic.Uint64 // connections dialled so far
}

// memAddr is the name of a listener, or "mem:client-N" for the N-th client of its Mem.
type memAddr string

func (memAddr) Network() string  { return memNetwork }
func (a memAddr) String() string { return string(a) }

// Name returns "mem".
func (*Mem) Name() string { return memNetwork }

// Secure returns false: nothing is encrypted, but the data does not leave the process.
func (*Mem) Secure() bool { return false }

// Handshake returns nc.
func (*Mem) Handshake(_ context.Context, nc net.Conn) (net.Conn, error) { return nc, nil }

// Listen listens on the name addr, which may be any string; "" and ":0" generate an unused name:
// "mem:1", "mem:2", and so on. The name is free again when Close has returned. Addresses of the
// listener and its connections have the network "mem".
//
// Errors are [*net.OpError] values and wrap syscall.EADDRINUSE for a name in use, or the error and
// the cause of an ended ctx. The listener also has SetDeadline, like [*net.TCPListener]. Its Close
// resets the connections that were not accepted.
func (m *Mem) Listen(ctx context.Context, addr string) (net.Listener, error) {
	fail := func(err error) (net.Listener, error) {
		return nil, &net.OpError{Op: "listen", Net: memNetwork, Addr: memAddr(addr), Err: err}
	}
	if ctx.Err() != nil {
		return fail(memContextError(ctx))
	}
	backlog := m.Backlog
	switch {
	case backlog < 0:
		return fail(fmt.Errorf("option Backlog %d: allowed are positive numbers, and 0 for %d", backlog, defaultMemBacklog))
	case backlog == 0:
		backlog = defaultMemBacklog
	}

	m.mu.Lock()
	defer m.mu.Unlock()
	if addr == "" || addr == ":0" {
		addr = m.freeName()
	} else if m.listeners[addr] != nil {
		return fail(errMemInUse)
	}
	l := &memListener{mem: m, addr: memAddr(addr), backlog: backlog}
	l.ready.L = &l.mu
	if m.listeners == nil {
		m.listeners = make(map[string]*memListener)
	}
	m.listeners[addr] = l
	return l, nil
}

// freeName generates an unused name. m.mu is held.
func (m *Mem) freeName() string {
	for {
		m.names++
		name := "mem:" + strconv.FormatUint(m.names, 10)
		if m.listeners[name] == nil {
			return name
		}
	}
}

// Dial connects to the listener with the name addr. As with TCP, the connection is established, and
// can be written to, as soon as it is in the backlog of the listener. If the backlog is full, Dial
// calls wait in order until there is space, ctx ends, or the listener is closed.
//
// Errors are [*net.OpError] values and wrap syscall.ECONNREFUSED if there is no listener or it is
// closed, or the error and the cause of an ended ctx.
func (m *Mem) Dial(ctx context.Context, addr string) (net.Conn, error) {
	pair, err := m.dial(ctx, addr)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: memNetwork, Addr: memAddr(addr), Err: err}
	}
	return &pair.client, nil
}

func (m *Mem) dial(ctx context.Context, addr string) (*memPair, error) {
	if ctx.Err() != nil {
		return nil, memContextError(ctx)
	}
	m.mu.RLock()
	l := m.listeners[addr]
	m.mu.RUnlock()
	if l == nil {
		return nil, errMemRefused
	}
	pair := newMemPair(l.addr, m.clients.Add(1))
	return pair, l.enqueue(ctx, pair)
}

// The errors of the kernel for TCP, wrapped as package net does.
var (
	errMemInUse   = os.NewSyscallError("bind", syscall.EADDRINUSE)
	errMemRefused = os.NewSyscallError("connect", syscall.ECONNREFUSED)
)

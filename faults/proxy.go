package faults

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Stream are the probabilities, from 0 to 1, of what a [Proxy] does with a piece of a stream that
// it has read. The zero value forwards streams as they are.
type Stream struct {
	// Delay waits up to 50 ms, Stall 1 to 20 s. Split writes the piece in parts, Merge waits for
	// more and writes it together. No byte is lost.
	Delay, Stall, Split, Merge float64
	// Truncate forwards a part of the piece, and then nothing more, as if that were the end of the
	// stream. HalfClose does so with the whole piece, and goes on reading. Reset resets both
	// connections.
	Truncate, HalfClose, Reset float64
}

// Proxy forwards connections with faults. The fields must not be changed while it is used.
type Proxy struct {
	Source *Source
	Stream Stream
	// Dial connects to the server.
	Dial func(context.Context) (net.Conn, error)

	links atomic.Uint64
}

// Serve forwards the connections that ln accepts, until ln is closed. Then it resets those that are
// left, and returns.
func (p *Proxy) Serve(ln net.Listener) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for {
		down, err := ln.Accept()
		if err != nil {
			return
		}
		wg.Go(func() {
			up, err := p.Dial(ctx)
			if err != nil {
				reset(down)
				down.Close()
				return
			}
			l := p.Link(down, up)
			defer context.AfterFunc(ctx, l.Reset)()
			l.Wait()
		})
	}
}

// Link forwards between two connections, which it closes when both streams have ended.
func (p *Proxy) Link(client, server net.Conn) *Link {
	n := p.links.Add(1)
	l := &Link{p: p, client: client, server: server, done: make(chan struct{})}
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		if l.forward(client, server, p.Source.Derive(2*n)) != nil {
			l.abort() // the client is gone: the server must get an error, too
		}
	}()
	go func() {
		defer close(l.done)
		err := l.forward(server, client, p.Source.Derive(2*n+1))
		<-answered // the server is gone, but what it has sent is not lost
		if err != nil {
			l.abort()
		}
		client.Close()
		server.Close()
	}()
	return l
}

// Link is a connection through a [Proxy].
type Link struct {
	p              *Proxy
	client, server net.Conn
	done           chan struct{}
	lossy          atomic.Bool
}

// Lossy reports whether a fault has lost bytes or the end of a stream.
func (l *Link) Lossy() bool { return l.lossy.Load() }

// Wait returns when both connections are closed.
func (l *Link) Wait() { <-l.done }

// Reset resets both connections.
func (l *Link) Reset() {
	l.lossy.Store(true)
	l.abort()
}

func (l *Link) abort() {
	for _, nc := range []net.Conn{l.client, l.server} {
		reset(nc)
		nc.Close()
	}
}

// forward forwards one stream until it ends. The error is that of the receiver.
func (l *Link) forward(to, from net.Conn, src *Source) error {
	buf := make([]byte, 1+src.IntN(16<<10))
	cut := false // the rest is discarded
	for {
		n, err := from.Read(buf)
		if b := buf[:n]; n > 0 && !cut {
			if err == nil && src.Chance(l.p.Stream.Merge) {
				b, err = more(from, b, src)
			}
			var werr error
			if cut, werr = l.piece(to, b, src); werr != nil {
				return werr
			}
		}
		switch h, ok := to.(halfCloser); {
		case err == nil:
			continue
		case !errors.Is(err, io.EOF): // reset by the sender
			l.abort()
		case ok && !cut:
			h.CloseWrite()
		}
		return nil
	}
}

// piece forwards a piece of a stream, with the faults that src chooses. cut says that it was the
// last one.
func (l *Link) piece(to net.Conn, b []byte, src *Source) (cut bool, err error) {
	s := &l.p.Stream
	if src.Chance(s.Delay) {
		time.Sleep(src.Between(0, 50*time.Millisecond))
	}
	if src.Chance(s.Stall) {
		time.Sleep(src.Between(time.Second, 20*time.Second))
	}
	switch {
	case src.Chance(s.Reset):
		l.Reset()
		return true, net.ErrClosed
	case src.Chance(s.Truncate):
		b, cut = b[:src.IntN(len(b))], true
	case src.Chance(s.HalfClose):
		cut = true
	}
	for len(b) > 0 && err == nil {
		part := b
		if src.Chance(s.Split) {
			part = b[:1+src.IntN(len(b))]
		}
		_, err = to.Write(part)
		b = b[len(part):]
	}
	if cut {
		l.lossy.Store(true)
		if h, ok := to.(halfCloser); ok {
			h.CloseWrite()
		}
	}
	return cut, err
}

// more appends what arrives within some milliseconds to b.
func more(from net.Conn, b []byte, src *Source) ([]byte, error) {
	b = append(make([]byte, 0, len(b)+4096), b...)
	from.SetReadDeadline(time.Now().Add(src.Between(time.Millisecond, 5*time.Millisecond)))
	defer from.SetReadDeadline(time.Time{})
	for len(b) < cap(b) {
		n, err := from.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			return b, err
		}
	}
	return b, nil
}

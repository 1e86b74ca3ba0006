package clustertest

import (
	"net"
	"sync"
	"time"
)

// Direction is one of the directions of a [Proxy].
type Direction int

// The directions of data.
const (
	ToTarget Direction = iota
	FromTarget
)

// Proxy forwards connections from a port of loopback to an address. Its methods may be called from
// any goroutine.
type Proxy struct {
	ln net.Listener

	mu      sync.Mutex
	changed sync.Cond
	target  string
	cut     bool
	stalled [2]bool
	delay   time.Duration
	conns   map[net.Conn]bool
	closed  bool
	done    sync.WaitGroup
}

// NewProxy returns a proxy to target, which may be set later.
func NewProxy(target string) (*Proxy, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{ln: ln, target: target, conns: map[net.Conn]bool{}}
	p.changed.L = &p.mu
	p.done.Go(p.accept)
	return p, nil
}

// Addr is the address of the proxy.
func (p *Proxy) Addr() string { return p.ln.Addr().String() }

// SetTarget changes the target of later connections.
func (p *Proxy) SetTarget(addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = addr
}

// Cut resets all connections, and later ones at once, until Open.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = true
	p.closeAll()
}

// Stall forwards nothing in the given directions until Open; connections stay open.
func (p *Proxy) Stall(directions ...Direction) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range directions {
		p.stalled[d] = true
	}
}

// Delay delays all data by d until Open.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// Open ends Cut, Stall and Delay. Data that arrived meanwhile is forwarded.
func (p *Proxy) Open() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut, p.stalled, p.delay = false, [2]bool{}, 0
	p.changed.Broadcast()
}

// Close ends all connections and the proxy.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	p.closeAll()
	p.mu.Unlock()
	p.ln.Close()
	p.done.Wait()
}

// closeAll resets all connections. p.mu is held.
func (p *Proxy) closeAll() {
	for c := range p.conns {
		if t, ok := c.(*net.TCPConn); ok {
			t.SetLinger(0)
		}
		c.Close()
	}
	clear(p.conns)
	p.changed.Broadcast()
}

func (p *Proxy) accept() {
	for {
		in, err := p.ln.Accept()
		if err != nil {
			return
		}
		p.done.Go(func() { p.serve(in) })
	}
}

// add registers a connection. It closes it and returns false if there must be none.
func (p *Proxy) add(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut || p.closed {
		c.Close()
		return false
	}
	p.conns[c] = true
	return true
}

func (p *Proxy) serve(in net.Conn) {
	if !p.add(in) {
		return
	}
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	out, err := net.DialTimeout("tcp", target, 5*time.Second)
	if err != nil {
		p.end(in)
		return
	}
	if !p.add(out) {
		p.end(in)
		return
	}
	p.done.Go(func() { p.copy(out, in, ToTarget) })
	p.copy(in, out, FromTarget)
}

// end closes a connection.
func (p *Proxy) end(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.Close()
	delete(p.conns, c)
	p.changed.Broadcast()
}

// copy forwards one direction of a connection, and ends both of its sides afterwards.
func (p *Proxy) copy(to, from net.Conn, d Direction) {
	defer p.end(to)
	defer p.end(from)
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && p.wait(from, d) {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// wait waits until data may be forwarded. It returns false if the connection was closed.
func (p *Proxy) wait(from net.Conn, d Direction) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.delay > 0 {
		delay := p.delay
		p.mu.Unlock()
		time.Sleep(delay)
		p.mu.Lock()
	}
	for p.stalled[d] && p.conns[from] {
		p.changed.Wait()
	}
	return p.conns[from]
}

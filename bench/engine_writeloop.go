package main

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"sync"
	"syscall"
)

func init() {
	register(engine{
		name: "write-loop", about: "a loop that calls net.Conn.Write for each member",
		fanout: &frameProtocol, start: startWriteLoop((*loopMember).write),
	})
	register(engine{
		name: "write-loop-raw", about: "a loop that calls write(2) for each member",
		fanout: &frameProtocol, start: startWriteLoop((*loopMember).writeRaw),
	})
}

// writeLoop is the set of members. A broadcast holds the lock until it is written: no other work
// needs it meanwhile.
type writeLoop struct {
	mu      sync.Mutex
	members []*loopMember
	write   func(m *loopMember, b []byte)
}

type loopMember struct {
	conn *net.TCPConn
	fd   int
}

func startWriteLoop(write func(*loopMember, []byte)) func(serveConfig) (string, error) {
	return func(serveConfig) (string, error) {
		return serveEach((&writeLoop{write: write}).serve)
	}
}

// write blocks while the send buffer of a member is full. Errors are left to the member's reader,
// here and in writeRaw.
func (m *loopMember) write(b []byte) { m.conn.Write(b) }

// writeRaw calls write(2) first, and blocks only if the send buffer is full.
func (m *loopMember) writeRaw(b []byte) {
	n, err := syscall.Write(m.fd, b)
	if err != nil {
		n = 0
	}
	if n < len(b) {
		m.conn.Write(b[n:])
	}
}

func (l *writeLoop) serve(conn *net.TCPConn) {
	in := bufio.NewReader(conn)
	m := &loopMember{conn: conn}
	defer l.leave(m) // before conn is closed and its descriptor is reused
	for {
		head, err := in.Peek(4)
		if err != nil {
			return
		}
		b := make([]byte, 4+binary.BigEndian.Uint32(head)) // no length check: the generator is trusted
		if _, err := io.ReadFull(in, b); err != nil {
			return
		}
		if string(b[4:]) == joinFrame {
			err = l.join(m, b)
		} else {
			l.broadcast(b)
		}
		if err != nil {
			return
		}
	}
}

func (l *writeLoop) join(m *loopMember, answer []byte) error {
	rc, err := m.conn.SyscallConn()
	if err != nil {
		return err
	}
	if err := rc.Control(func(fd uintptr) { m.fd = int(fd) }); err != nil {
		return err
	}
	l.mu.Lock()
	l.members = append(l.members, m)
	l.mu.Unlock()
	_, err = m.conn.Write(answer)
	return err
}

func (l *writeLoop) leave(m *loopMember) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.members = slices.DeleteFunc(l.members, func(o *loopMember) bool { return o == m })
}

func (l *writeLoop) broadcast(b []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range l.members {
		l.write(m, b)
	}
}

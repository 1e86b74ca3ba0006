package main

import (
	"net"
	"sync"
	"syscall"
)

func init() {
	register(engine{
		name: "lazy", about: "bare with a pooled 64 KiB buffer, taken only while there is data to read, plain TCP only",
		start: startLazy,
	})
}

const lazyBuffer = 64 << 10

var lazyBuffers = sync.Pool{New: func() any { return new([lazyBuffer]byte) }}

func startLazy(serveConfig) (string, error) {
	return serveEach(func(conn *net.TCPConn) {
		rc, err := conn.SyscallConn()
		if err != nil {
			return
		}
		for lazyEcho(conn, rc) {
		}
	})
}

// lazyEcho waits for data and sends it back. It reports whether the connection is still usable.
func lazyEcho(conn *net.TCPConn, rc syscall.RawConn) bool {
	var buf *[lazyBuffer]byte
	var n int
	err := rc.Read(func(fd uintptr) bool {
		buf = lazyBuffers.Get().(*[lazyBuffer]byte)
		var rerr error
		if n, rerr = syscall.Read(int(fd), buf[:]); rerr != syscall.EAGAIN {
			return true
		}
		lazyBuffers.Put(buf) // no data: wait without a buffer
		buf = nil
		return false
	})
	if buf == nil {
		return false
	}
	defer lazyBuffers.Put(buf)
	if err != nil || n <= 0 {
		return false
	}
	_, err = conn.Write(buf[:n])
	return err == nil
}

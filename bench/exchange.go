package main

import (
	"bytes"
	"errors"
	"io"

	"goranch/internal/loadgen"
)

var (
	errWrongAnswer = errors.New("the answer is not the expected one")
	errPeerClosed  = errors.New("the server closed the connection before it answered")
)

// exchange is one request and its answer on a non-blocking socket.
type exchange struct {
	fd             int
	sent, received int
	greeting       bool // the server sends a line before the first answer
}

// request starts an exchange. What the send buffer does not take at once is sent by advance.
func (x *exchange) request(payload []byte) error {
	x.sent, x.received = 0, 0
	return x.flush(payload)
}

// advance does what is possible without waiting and reports whether the answer is complete. It
// reads once: on an edge-triggered descriptor a short read means that no more data has arrived.
//
// answer is the expected answer, and buf has room for it.
func (x *exchange) advance(payload, answer, buf []byte) (done bool, err error) {
	if x.sent < len(payload) {
		if err := x.flush(payload); err != nil {
			return false, err
		}
	}
	if x.greeting {
		if err := x.readGreeting(); err != nil || x.greeting {
			return false, err
		}
	}
	n, err := x.read(buf[:len(answer)-x.received])
	switch {
	case n == 0:
		return false, err
	case !bytes.Equal(buf[:n], answer[x.received:x.received+n]):
		return false, errWrongAnswer
	}
	x.received += n
	return x.received == len(answer), nil
}

// readGreeting reads the first line, byte by byte so that nothing after it is consumed.
func (x *exchange) readGreeting() error {
	var b [1]byte
	for {
		switch n, err := x.read(b[:]); {
		case n == 0:
			return err
		case b[0] == '\n':
			x.greeting = false
			return nil
		}
	}
}

// read returns 0 and no error if no data has arrived.
func (x *exchange) read(b []byte) (int, error) {
	n, err := loadgen.Read(x.fd, b)
	if err == io.EOF {
		err = errPeerClosed
	}
	return n, err
}

func (x *exchange) flush(payload []byte) error {
	n, err := loadgen.Write(x.fd, payload[x.sent:])
	x.sent += n
	return err
}

package bots

import (
	"bytes"
	"errors"
	"io"
	"syscall"
	"time"
)

// phase is the progress of a client.
type phase uint8

const (
	notStarted phase = iota
	connecting
	awaitingToken
	subscribing
	ready
	lost
)

// awaited names what a client waits for in each phase.
var awaited = [...]string{notStarted: "connection", connecting: "connection", awaitingToken: "token", subscribing: "ACK", ready: "message"}

// client is one simulated subscriber. Its socket belongs to the driver.
type client struct {
	phase   phase
	reason  uint8  // index in worker.reasons; valid if lost
	inTime  int32  // messages received in time
	highest int32  // the highest message number received
	recent  uint64 // bit i is set if message highest-i was received
	partial []byte // the incomplete frame at the end of what was received
}

// has reports whether the client has received message n. Older messages than recent covers count as
// received.
func (c *client) has(n int) bool {
	age := int(c.highest) - n
	return age >= 64 || age >= 0 && c.recent&(1<<age) != 0
}

// markReceived records that the client has received message n, and reports whether it is new.
// Messages can arrive in another order than they were published, because each is published on a
// connection of its own.
func (c *client) markReceived(n int) bool {
	if c.has(n) {
		return false
	}
	if ahead := n - int(c.highest); ahead > 0 {
		c.recent <<= ahead
		c.highest = int32(n)
	}
	c.recent |= 1 << (int(c.highest) - n)
	return true
}

// connected records that client i has a connection and returns the bytes to send.
func (w *worker) connected(i int, now time.Time) []byte {
	if w.clients[i].phase == connecting {
		w.clients[i].phase = awaitingToken
		w.lastAdvance = now
	}
	return []byte(greeting)
}

// received handles bytes that client i received and returns the bytes to send. After an error the
// caller must close the connection.
func (w *worker) received(i int, b []byte, at time.Time) (answer []byte, err error) {
	c := &w.clients[i]
	if len(c.partial) > 0 {
		c.partial = append(c.partial, b...)
		b = c.partial
	}
	for {
		end := bytes.IndexByte(b, serverEnd)
		if end < 0 {
			break
		}
		out, err := w.handleFrame(i, b[:end], at)
		if err != nil {
			return nil, err
		}
		answer = append(answer, out...)
		b = b[end+1:]
	}
	if !plausible(b) || len(b) > 2*maxMessageSize {
		return nil, invalid("frame", b)
	}
	if len(b) == 0 {
		c.partial = nil
	} else {
		c.partial = append([]byte(nil), b...)
	}
	return answer, nil
}

func (w *worker) handleFrame(i int, f []byte, at time.Time) (answer []byte, err error) {
	c := &w.clients[i]
	if string(f) == "PING" {
		return []byte(pong), nil
	}
	switch {
	case c.phase == awaitingToken:
		if err := parseToken(f); err != nil {
			return nil, err
		}
		c.phase = subscribing
		w.inFlight--
		w.tokens++
		w.lastAdvance = at
		return w.subscribe, nil
	case c.phase == subscribing && string(f) == "ACK":
		c.phase = ready
		w.ready++
		w.lastAdvance = at
		return nil, nil
	}
	stamp, n, err := w.Message.parse(f)
	switch {
	case errors.Is(err, errForeign):
		w.foreign++
		return nil, nil
	case err != nil:
		return nil, err
	case n > w.Repeat || c.phase != ready || !c.markReceived(n):
		w.repeats++
		return nil, nil
	}
	b := w.broadcast(n)
	b.add(i, at, stamp)
	if b.published {
		w.reportIfComplete(n, b, at)
	}
	return nil, nil
}

// disconnected records that the connection of client i has ended, or must be closed, with err.
func (w *worker) disconnected(i int, err error, now time.Time) {
	c := &w.clients[i]
	if c.phase == lost {
		return
	}
	switch c.phase {
	case connecting, awaitingToken:
		w.inFlight--
	case ready:
		w.ready--
	}
	c.reason = w.reasonIndex(reasonOf(err, c.phase))
	c.phase, c.partial = lost, nil
	w.lost++
	w.lastAdvance = now
	for n, b := range w.broadcasts {
		if !c.has(n) {
			b.absent++
			w.reportIfComplete(n, b, now)
		}
	}
}

// farewell returns the bytes that client i sends before its connection is closed. A server that
// keeps sessions of disconnected subscribers continues to deliver to them unless they unsubscribe,
// and later runs would measure that load too.
func (w *worker) farewell(i int) []byte {
	if p := w.clients[i].phase; p != ready && p != subscribing {
		return nil
	}
	return w.unsubscribe
}

// reasonOf maps an error to a short text, so that reasons can be counted.
func reasonOf(err error, p phase) string {
	switch {
	case errors.Is(err, io.EOF):
		return "closed by the server before the " + awaited[p]
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection reset before the " + awaited[p]
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return "too many open files"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "no free source port or address"
	}
	return err.Error()
}

// reasonIndex returns the index of a reason in w.reasons and adds it if it is new.
func (w *worker) reasonIndex(s string) uint8 {
	for i, r := range w.reasons {
		if r == s {
			return uint8(i)
		}
	}
	if len(w.reasons) == maxReasons {
		w.reasons = append(w.reasons, "other reasons")
	}
	if len(w.reasons) > maxReasons {
		return maxReasons
	}
	w.reasons = append(w.reasons, s)
	return uint8(len(w.reasons) - 1)
}

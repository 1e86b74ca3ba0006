package conns

import (
	"time"

	"goranch/internal/engine"
)

const (
	// rateWindow is the time over which MinReceiveRate is measured.
	rateWindow = 10 * time.Second
	// maxRecord is the payload of the longest TLS record, which is received as a whole.
	maxRecord = 16 << 10
)

// receiveRates measures how fast peers send messages. Monitor has one: a connection for which no
// window is open needs no memory.
type receiveRates struct {
	windows map[*connection]receiveWindow
	round   uint64 // of the visits of all connections
}

// receiveWindow is a part of the time in which a peer sends a message.
type receiveWindow struct {
	message uint32 // see engine.Conn.Receiving
	began   int64
	read    uint64 // bytes that had been received then
	waits   uint32 // waits of reads for the ReceiveRate, during which the server is slow, and not the peer
	round   uint64 // of the last visit
}

// tooSlow reports whether the peer of c has sent fewer bytes of a message than rate, in bytes per
// second, in a window that ends now. It begins the next one. c.read is current.
func (r *receiveRates) tooSlow(c *connection, now int64, rate int) bool {
	message := engine.Of(&c.conn).Receiving()
	w, open := r.windows[c]
	if message&1 == 0 {
		if open {
			delete(r.windows, c)
		}
		return false
	}
	waits, waiting, _ := engine.Of(&c.conn).Throttled()
	same := open && w.message == message && w.waits == waits && !waiting
	length := rateWindow
	if engine.Of(&c.conn).Encrypted() { // payload counts when its record is complete
		length += time.Duration(float64(time.Second) * maxRecord / float64(rate))
	}
	ended := same && time.Duration(now-w.began) >= length
	if ended && float64(c.read-w.read) < float64(rate)*rateWindow.Seconds() {
		return true
	}
	if !same || ended {
		w = receiveWindow{message: message, began: now, read: c.read, waits: waits}
	}
	w.round = r.round
	if r.windows == nil {
		r.windows = make(map[*connection]receiveWindow)
	}
	r.windows[c] = w
	return false
}

// endRound ends a round of visits: windows of connections that were not visited are dropped,
// because these have ended or have no limit any more.
func (r *receiveRates) endRound() {
	for c, w := range r.windows {
		if w.round != r.round {
			delete(r.windows, c)
		}
	}
	r.round++
}

package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"time"
)

// fanoutResult adds to the window how long each burst took, from the first published byte until the
// last byte arrived at the last member.
type fanoutResult struct {
	windowResult
	WaitsNs []int64 `json:"waits_ns"`
}

// fanoutMembers are the members of one group.
type fanoutMembers struct {
	*clients
	wireProtocol
	answers [][]byte // what members received until all have joined
	buf     []byte
}

// publisherID is the publisher's in the poller; members count from 0.
const publisherID = -1

func loadFanout(cfg loadConfig) error {
	runtime.LockOSThread()
	warm, err := openMembers(cfg, warmConns)
	if err != nil {
		return err
	}
	warm.close()
	if err := reachPhase(cfg, "warm"); err != nil {
		return err
	}
	m, err := openMembers(cfg, cfg.conns)
	if err != nil {
		return err
	}
	if err := reachPhase(cfg, "open"); err != nil {
		return err
	}
	pub, err := m.openPublisher(cfg)
	if err != nil {
		return err
	}
	publish, deliver := m.messages(cfg)
	each := len(deliver)
	if m.last != 0 {
		each, deliver = cfg.burst, nil
	}
	if err := m.burst(pub, publish, each, deliver); err != nil {
		return fmt.Errorf("first burst: %w", err)
	}
	result, err := m.drive(cfg, pub, publish, each)
	if err != nil {
		return err
	}
	return cfg.send(result)
}

// openMembers connects n members and waits until the server has confirmed that each has joined.
func openMembers(cfg loadConfig, n int) (*fanoutMembers, error) {
	c, err := newClients(cfg)
	if err != nil {
		return nil, err
	}
	m := &fanoutMembers{clients: c, wireProtocol: *cfg.fanout, answers: make([][]byte, n), buf: make([]byte, 256<<10)}
	if err := m.open(n, false, m.advanceJoin); err != nil {
		return nil, err
	}
	m.answers = nil
	for i := range m.conns {
		m.conns[i].received = 0
	}
	return m, nil
}

func (m *fanoutMembers) advanceJoin(i int) (joined bool, err error) {
	x := &m.conns[i]
	if x.sent < len(m.join) {
		if err := x.flush(m.join); err != nil {
			return false, err
		}
	}
	n, err := x.read(m.buf)
	if n == 0 {
		return false, err
	}
	m.answers[i] = append(m.answers[i], m.buf[:n]...)
	return bytes.HasSuffix(m.answers[i], []byte(m.welcome)), nil
}

// openPublisher connects the publisher.
func (m *fanoutMembers) openPublisher(cfg loadConfig) (*exchange, error) {
	x, err := m.dial(cfg.conns, publisherID)
	if err != nil {
		return nil, err
	}
	if err := x.request(m.hello); err != nil {
		return nil, err
	}
	if x.sent < len(m.hello) {
		return nil, errors.New("the send buffer of the publisher's new connection is full")
	}
	return &x, nil
}

// messages returns one burst as it is published and as each member receives it. Messages are
// numbered, so that a wrong order is detected.
func (m *fanoutMembers) messages(cfg loadConfig) (publish, deliver []byte) {
	payload := cfg.payload()
	for i := range cfg.burst {
		if len(payload) > 4 && !m.text {
			binary.BigEndian.PutUint32(payload, uint32(i))
		}
		publish = append(publish, m.publish(payload)...)
		deliver = append(deliver, m.deliver(payload)...)
	}
	return publish, deliver
}

// drive publishes bursts, each when the one before has arrived at all members.
func (m *fanoutMembers) drive(cfg loadConfig, pub *exchange, publish []byte, each int) (result fanoutResult, err error) {
	var ops int64
	deliveries := int64(cfg.burst) * int64(len(m.conns)) // of one burst
	result.windowResult, err = driveWindow(cfg, &ops, func() error {
		begin := time.Now()
		err := m.burst(pub, publish, each, nil)
		result.WaitsNs = append(result.WaitsNs, int64(time.Since(begin)))
		ops += deliveries
		return err
	})
	if err == nil { // without those of the warm-up
		result.WaitsNs = result.WaitsNs[len(result.WaitsNs)-int(result.Ops/deliveries):]
	}
	return result, err
}

// burst publishes and waits until each member has received each bytes, or messages if the protocol
// marks their end. What members receive is compared with deliver unless that is nil.
func (m *fanoutMembers) burst(pub *exchange, publish []byte, each int, deliver []byte) error {
	if err := pub.request(publish); err != nil {
		return err
	}
	var received int64
	want := int64(each) * int64(len(m.conns))
	deadline := time.Now().Add(stallTimeout)
	for received < want {
		events, err := m.Wait(50 * time.Millisecond)
		if err != nil {
			return err
		}
		for _, ev := range events {
			if ev.Fd == publisherID {
				err = m.advancePublisher(pub, publish)
			} else {
				var n int
				n, err = m.receive(&m.conns[ev.Fd], deliver)
				received += int64(n)
			}
			if err != nil {
				return err
			}
		}
		switch {
		case len(events) > 0:
			deadline = time.Now().Add(stallTimeout)
		case time.Now().After(deadline):
			return fmt.Errorf("received %d of %d %s, and nothing for %v", received, want, m.unit(), stallTimeout)
		}
	}
	if received > want {
		return fmt.Errorf("received %d %s, want %d", received, m.unit(), want)
	}
	return nil
}

// unit is what receive counts.
func (m *fanoutMembers) unit() string {
	if m.last != 0 {
		return "messages"
	}
	return "bytes"
}

// advancePublisher discards what the server answers the publisher, and sends the rest of a burst.
func (m *fanoutMembers) advancePublisher(pub *exchange, publish []byte) error {
	for {
		n, err := pub.read(m.buf)
		if err != nil {
			return err
		}
		if n < len(m.buf) {
			break
		}
	}
	if pub.sent < len(publish) {
		return pub.flush(publish)
	}
	return nil
}

// receive reads what has arrived at a member and counts bytes, or messages if the protocol marks
// their end. It compares the bytes with expected unless that is nil.
func (m *fanoutMembers) receive(x *exchange, expected []byte) (total int, err error) {
	for {
		n, err := x.read(m.buf)
		if n == 0 {
			return total, err
		}
		if expected != nil {
			if n > len(expected)-x.received || !bytes.Equal(m.buf[:n], expected[x.received:x.received+n]) {
				return total, errWrongAnswer
			}
			x.received += n
		}
		if m.last != 0 {
			total += bytes.Count(m.buf[:n], []byte{m.last})
		} else {
			total += n
		}
		if n < len(m.buf) { // edge-triggered: no more has arrived
			return total, nil
		}
	}
}

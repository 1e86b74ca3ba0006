package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"syscall"
	"time"
)

// fanoutResult adds to the window how long each burst took, from the first byte that was published until the last
// had arrived at the last member.
type fanoutResult struct {
	windowResult
	WaitsNs []int64 `json:"waits_ns"`
}

// fanoutCrowd is the members of one group. It counts what arrives; only the first burst is compared.
type fanoutCrowd struct {
	*poller
	dialect
	members []exchange
	answers [][]byte // what members have been told, until they are all joined
	joined  int
	buf     []byte
}

// publisherNumber is the publisher's in the poller; members count from 0.
const publisherNumber = -1

// fanoutPatience is the longest that nothing may arrive.
const fanoutPatience = 30 * time.Second

func loadFanout(cfg loadConfig) error {
	runtime.LockOSThread()
	warm, err := openMembers(cfg, warmConns)
	if err != nil {
		return err
	}
	warm.end()
	if err := sayAndWait(cfg, "warm"); err != nil {
		return err
	}
	c, err := openMembers(cfg, cfg.conns)
	if err != nil {
		return err
	}
	if err := sayAndWait(cfg, "open"); err != nil {
		return err
	}
	pub, err := c.publisher(cfg)
	if err != nil {
		return err
	}
	publish, deliver := c.messages(cfg)
	each := len(deliver)
	if c.last != 0 {
		each, deliver = cfg.burst, nil
	}
	if err := c.burst(pub, publish, each, deliver); err != nil {
		return fmt.Errorf("the first burst: %w", err)
	}
	result, err := c.drive(cfg, pub, publish, each)
	if err != nil {
		return err
	}
	return cfg.say(result)
}

// messages are those of one burst, as they are published and as each member gets them. They are numbered, so that
// some in the wrong order do not pass for the right ones.
func (c *fanoutCrowd) messages(cfg loadConfig) (publish, deliver []byte) {
	payload := cfg.payload()
	for i := range cfg.burst {
		if len(payload) > 4 && !c.text {
			binary.BigEndian.PutUint32(payload, uint32(i))
		}
		publish = append(publish, c.publish(payload)...)
		deliver = append(deliver, c.deliver(payload)...)
	}
	return publish, deliver
}

// drive publishes burst after burst, each when the one before has arrived everywhere.
func (c *fanoutCrowd) drive(cfg loadConfig, pub *exchange, publish []byte, each int) (result fanoutResult, err error) {
	var ops int64
	deliveries := int64(cfg.burst) * int64(len(c.members)) // of one burst
	result.windowResult, err = driveWindow(cfg, &ops, func() error {
		begin := time.Now()
		err := c.burst(pub, publish, each, nil)
		result.WaitsNs = append(result.WaitsNs, int64(time.Since(begin)))
		ops += deliveries
		return err
	})
	if err == nil { // only those of the window
		result.WaitsNs = result.WaitsNs[len(result.WaitsNs)-int(result.Ops/deliveries):]
	}
	return result, err
}

// burst publishes and waits until each member has got so many bytes, or messages. They are compared with deliver unless that is nil.
func (c *fanoutCrowd) burst(pub *exchange, publish []byte, each int, deliver []byte) error {
	if err := pub.request(publish); err != nil {
		return err
	}
	var got int64
	want := int64(each) * int64(len(c.members))
	deadline := time.Now().Add(fanoutPatience)
	for got < want {
		events, err := c.wait(50 * time.Millisecond)
		if err != nil {
			return err
		}
		for _, ev := range events {
			if ev.Fd == publisherNumber {
				if err = c.drain(pub); err == nil && pub.sent < len(publish) {
					err = pub.flush(publish)
				}
			} else {
				var n int
				n, err = c.take(&c.members[ev.Fd], deliver)
				got += int64(n)
			}
			if err != nil {
				return err
			}
		}
		switch {
		case len(events) > 0:
			deadline = time.Now().Add(fanoutPatience)
		case time.Now().After(deadline):
			return fmt.Errorf("only %d of %d bytes have arrived, and no more for %v", got, want, fanoutPatience)
		}
	}
	if got > want {
		return fmt.Errorf("%d bytes have arrived, want %d", got, want)
	}
	return nil
}

// drain takes what the publisher is answered.
func (c *fanoutCrowd) drain(pub *exchange) error {
	for {
		if n, err := pub.read(c.buf); n < len(c.buf) {
			return err
		}
	}
}

// take reads what has arrived at a member, counted in messages if those have an end, and compares it with expected unless that is nil.
func (c *fanoutCrowd) take(x *exchange, expected []byte) (total int, err error) {
	for {
		n, err := x.read(c.buf)
		if n == 0 {
			return total, err
		}
		if expected != nil {
			if n > len(expected)-x.got || !bytes.Equal(c.buf[:n], expected[x.got:x.got+n]) {
				return total, errWrongAnswer
			}
			x.got += n
		}
		if c.last != 0 {
			total += bytes.Count(c.buf[:n], []byte{c.last})
		} else {
			total += n
		}
		if n < len(c.buf) { // edge-triggered: there is no more
			return total, nil
		}
	}
}

// publisher connects who publishes.
func (c *fanoutCrowd) publisher(cfg loadConfig) (*exchange, error) {
	fd, err := dialRaw(cfg.target(), sourceAddr(cfg.conns))
	if err != nil {
		return nil, err
	}
	x := &exchange{fd: fd}
	if err := x.request(c.open); err != nil {
		return nil, err
	}
	if x.sent < len(c.open) {
		return nil, errors.New("the publisher could not send its first few bytes at once")
	}
	return x, c.add(fd, publisherNumber, edgeInOut)
}

// openMembers connects n members, and waits until the server has told each that it is one.
func openMembers(cfg loadConfig, n int) (*fanoutCrowd, error) {
	p, err := newPoller()
	if err != nil {
		return nil, err
	}
	c := &fanoutCrowd{poller: p, dialect: *cfg.fanout, answers: make([][]byte, n), buf: make([]byte, 256<<10)}
	for i := range n {
		fd, err := dialRaw(cfg.target(), sourceAddr(i))
		if err != nil {
			return nil, err
		}
		c.members = append(c.members, exchange{fd: fd})
		if err := errors.Join(c.add(fd, i, edgeInOut), c.awaitJoins(openAhead)); err != nil {
			return nil, err
		}
	}
	if err := c.awaitJoins(1); err != nil {
		return nil, err
	}
	c.answers = nil
	for i := range c.members {
		c.members[i].got = 0
	}
	return c, nil
}

// awaitJoins returns when fewer than most members have not joined.
func (c *fanoutCrowd) awaitJoins(most int) error {
	deadline := time.Now().Add(fanoutPatience)
	for len(c.members)-c.joined >= most {
		events, err := c.wait(100 * time.Millisecond)
		if err != nil {
			return err
		}
		for _, ev := range events {
			if err := c.advanceJoin(int(ev.Fd)); err != nil {
				return fmt.Errorf("member %d: %w", ev.Fd+1, err)
			}
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("only %d of %d members have joined within %v", c.joined, len(c.members), fanoutPatience)
		}
	}
	return nil
}

func (c *fanoutCrowd) advanceJoin(i int) error {
	x := &c.members[i]
	if x.sent < len(c.join) {
		if err := x.flush(c.join); err != nil {
			return err
		}
	}
	n, err := x.read(c.buf)
	if n == 0 {
		return err
	}
	c.answers[i] = append(c.answers[i], c.buf[:n]...)
	if bytes.HasSuffix(c.answers[i], []byte(c.welcome)) {
		c.joined++
	}
	return nil
}

func (c *fanoutCrowd) end() {
	for _, x := range c.members {
		syscall.Close(x.fd)
	}
	c.close()
}

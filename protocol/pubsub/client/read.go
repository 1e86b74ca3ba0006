package client

import (
	"bufio"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"goranch/protocol"
	"goranch/protocol/pubsub"
	"goranch/protocol/session"
)

// read handles the frames of the server until the connection ends.
func (l *link) read() {
	r := bufio.NewReader(l.Net)
	for {
		if d := l.client.opts.ReadTimeout; d > 0 {
			l.Net.SetReadDeadline(time.Now().Add(d))
		}
		b, err := readFrame(r, l.client.opts.MaxFrame)
		if err == nil {
			err = l.handleFrame(b)
		}
		if err != nil {
			l.Fail(err)
			return
		}
	}
}

func (l *link) handleFrame(b []byte) error {
	switch string(b) {
	case "", "PONG":
		return nil
	case "PING":
		l.mu.Lock()
		defer l.mu.Unlock()
		l.sendPong = true
		l.wakeWriter()
		return nil
	case "ACK":
		l.answered(0, answer{})
		return nil
	}
	if isStamped(b) {
		return l.handleStamped(b)
	}
	var f controlFrame
	if err := parseFrame(b, &f); err != nil {
		return err
	}
	opts, counters := &l.client.opts, &l.client.counters
	switch {
	case f.Error != nil:
		return l.refused(*f.Error)
	case f.Dropped > 0:
		counters.serverDropped.Add(f.Dropped)
		l.dropped()
		opts.OnDrop("", f.Dropped)
	case f.LostBytes > 0:
		counters.lostBytes.Add(f.LostBytes)
		l.dropped()
		opts.OnLostBytes(f.LostBytes)
	case f.Subscribed != nil:
		l.subscribed(&f)
	case f.Refused != nil:
		l.answeredID(f.ID, answer{err: fmt.Errorf("%w: %s", ErrNotPublished, *f.Refused)})
	case f.Published != nil:
		l.answeredID(f.ID, answer{pubsub.Published{Subscribers: *f.Published, Position: pubsub.Position{Epoch: f.Epoch, Offset: f.Offset}}, nil})
	case f.Subscribers != nil:
		l.answeredID(f.ID, answer{pubsub.Published{Subscribers: *f.Subscribers}, nil})
	}
	return nil // frames of later versions are ignored
}

// handleStamped handles a message or the greeting.
func (l *link) handleStamped(b []byte) error {
	var f stampedFrame
	if err := parseFrame(b, &f); err != nil {
		return err
	}
	if f.Topic != nil {
		m := f.message()
		m.Offset = offsetOf(f.Offset)
		previous := m.Offset - 1
		if f.Previous != nil {
			previous = offsetOf(f.Previous)
		}
		l.deliver(m, previous)
		return nil
	}
	select {
	case <-l.greeted:
		return fmt.Errorf("%w: second greeting", protocol.ErrBadInput)
	default:
	}
	l.token = textOf(f.Token)
	if len(f.Token) == 0 || f.Token[0] != '"' {
		l.token = ""
	}
	close(l.greeted)
	return nil
}

// answeredID handles the answer to a publish or presence request.
func (l *link) answeredID(id []byte, a answer) {
	if k, err := strconv.ParseUint(string(id), 10, 64); err == nil && k > 0 {
		l.answered(k, a)
	}
}

// answered passes an answer to the oldest pending request with that id.
func (l *link) answered(id uint64, a answer) {
	l.mu.Lock()
	var p *pending
	for i, q := range l.pending {
		if q.id == id {
			p = q
			l.pending = append(l.pending[:i], l.pending[i+1:]...)
			break
		}
	}
	l.mu.Unlock()
	if p == nil {
		return
	}
	if len(p.unsubscribed) > 0 {
		l.client.unsubscribed(p.unsubscribed)
	}
	if p.sub != nil {
		l.client.confirm(l, p)
	}
	p.answer <- a
}

// refused handles an error frame, with which the server closes the connection. The server handles
// requests one after the other, so the oldest pending request is the one that it has refused.
func (l *link) refused(reason string) error {
	if reason == pubsub.ErrTakenOver.Error() {
		return pubsub.ErrTakenOver
	}
	if reason == session.ErrUnknown.Error() {
		return fmt.Errorf("the session was ended: %s", reason)
	}
	if strings.HasPrefix(reason, pubsub.ErrUnavailable.Error()+":") {
		return errors.New(reason) // the request is sent again over the next connection, or fails with ErrDisconnected
	}
	err := fmt.Errorf("%w: %s", ErrRefused, reason)
	l.mu.Lock()
	if len(l.pending) == 0 {
		l.mu.Unlock()
		return err
	}
	p := l.pending[0]
	l.pending = l.pending[1:]
	end := fmt.Errorf("another request was %v", err)
	l.Fail(end) // first, so that a caller that receives the answer does not use this connection again
	p.answer <- answer{err: err}
	l.mu.Unlock()
	if p.sub != nil {
		l.client.subscriptionRefused(p.sub, err)
	}
	return end
}

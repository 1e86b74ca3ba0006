package protocol

import (
	"errors"
	"fmt"
	"os"
	"time"

	"goranch/transport"
)

// upgraded reports whether the read was interrupted for an upgrade, and runs the upgrade. It is
// false if the upgrade has failed.
//
//go:noinline
func (p *Peer) upgraded() bool {
	if !p.upgrading(p.err) {
		return false
	}
	p.err = p.upgrade()
	return p.err == nil
}

// upgrading reports whether the read was interrupted for an upgrade.
func (p *Peer) upgrading(err error) bool {
	p.callMu.Lock()
	defer p.callMu.Unlock()
	return p.next != nil && (err == errUpgrade || errors.Is(err, os.ErrDeadlineExceeded)) && !p.ending.Load()
}

func (p *Peer) upgrade() error {
	p.callMu.Lock()
	defer p.callMu.Unlock()
	t := p.next
	p.next = nil
	p.conn.SetReadDeadline(time.Time{})
	if n := len(p.partial); n > 0 {
		return fmt.Errorf("upgrade to %s: %d bytes: %w", t.Name(), n, transport.ErrBuffered)
	}
	if err := p.out.pause(p.ctx); err != nil {
		return err
	}
	err := ErrEnded // if Upgrade panics
	defer func() { p.out.resume(err) }()
	err = p.conn.Upgrade(p.ctx, t)
	return err
}

// checkUpgrade makes an upgrade fail if the peer has already sent plain text after the request.
//
//go:noinline
func (p *Peer) checkUpgrade(err error, rest []byte) error {
	if err == errUpgrade && len(rest) > 0 {
		return fmt.Errorf("upgrade to %s: %d bytes: %w", p.next.Name(), len(rest), transport.ErrBuffered)
	}
	return err
}

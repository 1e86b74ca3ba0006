package transport

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// DefaultUpgradeTimeout is the limit of [Conn.Upgrade] when its context has none.
const DefaultUpgradeTimeout = 5 * time.Second

// ErrBuffered is wrapped by the error of an upgrade of a connection of which bytes have
// been read ahead: the peer has sent them in plain text, and they would otherwise be
// taken for what comes after, as attackers on STARTTLS have made use of.
var ErrBuffered = errors.New("plain text has been read ahead")

// Upgrade runs the server's side of t's handshake on a connection in use, as STARTTLS
// does: what is read and written after it goes through t. It takes no longer than ctx
// allows, or 5 s ([DefaultUpgradeTimeout]) if that has no deadline.
//
// The goroutine that owns the connection calls it, after the peer was told to begin,
// while nobody reads or writes. A buffer of its own, a bufio.Reader for one, has to be
// empty and must not be used any more. If [Conn.Peek] has read ahead, the error wraps
// [ErrBuffered]. After a handshake that failed, reads and writes fail with its error: the
// connection can only be closed.
func (c *Conn) Upgrade(ctx context.Context, t Transport) error {
	if n := c.ahead.len() + c.raw.ahead.len(); n > 0 {
		return fmt.Errorf("upgrade to %s: %d bytes: %w", t.Name(), n, ErrBuffered)
	}
	if c.top != &c.raw {
		return fmt.Errorf("upgrade to %s: the connection is upgraded already: %w", t.Name(), errors.ErrUnsupported)
	}
	return c.upgrade(ctx, t)
}

// upgrade is Upgrade for a connection on which [Conn.Peek] may have seen the beginning of the
// handshake: what was read ahead is part of it.
func (c *Conn) upgrade(ctx context.Context, t Transport) error {
	if c.top != &c.raw {
		return fmt.Errorf("upgrade to %s: the connection is upgraded already: %w", t.Name(), errors.ErrUnsupported)
	}
	if _, limited := ctx.Deadline(); !limited {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, DefaultUpgradeTimeout)
		defer cancel()
	}
	c.raw.reads.Suspend(c.raw.Conn, true)
	defer c.raw.reads.Suspend(c.raw.Conn, false)
	if err := c.prepare(ctx, t); err != nil {
		err = fmt.Errorf("upgrade to %s: %w", t.Name(), err)
		c.top = &notUpgraded{&c.raw, err}
		return err
	}
	return nil
}

// notUpgraded is what a failed handshake leaves: a protocol that does not look at the error must
// not go on in plain text.
type notUpgraded struct {
	*rawConn
	err error
}

func (u *notUpgraded) Read([]byte) (int, error)  { return 0, u.err }
func (u *notUpgraded) Write([]byte) (int, error) { return 0, u.err }

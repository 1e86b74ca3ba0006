package transport

import (
	"context"
	"errors"
	"fmt"

	"goranch/internal/engine"
)

// Upgrade runs the server's side of t's handshake on a connection in use, as STARTTLS does. All
// later reads and writes go through t. The limit is that of ctx, or 5 s if ctx has no deadline.
//
// The owner of the connection calls it after it has asked the peer to begin, while no read or write
// is in progress. A bufio.Reader or other buffer of the owner must be empty and must not be used
// afterwards. If [Conn.Peek] has read ahead, the error wraps [ErrBuffered]. After a failed
// handshake, reads and writes fail with its error: the connection can only be closed.
func (c *Conn) Upgrade(ctx context.Context, t Transport) error {
	if n := c.raw.ahead.len() + c.payloadAhead().len(); n > 0 {
		return fmt.Errorf("upgrade to %s: %d bytes: %w", t.Name(), n, ErrBuffered)
	}
	if c.top() != nil {
		return fmt.Errorf("upgrade to %s: the connection is upgraded already: %w", t.Name(), errors.ErrUnsupported)
	}
	return c.upgrade(ctx, t)
}

// upgrade is Upgrade for a connection on which [Conn.Peek] may have read the beginning of the
// handshake.
func (c *Conn) upgrade(ctx context.Context, t Transport) error {
	if c.top() != nil {
		return fmt.Errorf("upgrade to %s: the connection is upgraded already: %w", t.Name(), errors.ErrUnsupported)
	}
	if _, limited := ctx.Deadline(); !limited {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, engine.UpgradeTimeout)
		defer cancel()
	}
	c.raw.reads.Suspend(c.raw.Conn, true)
	defer c.raw.reads.Suspend(c.raw.Conn, false)
	if err := c.prepare(ctx, t); err != nil {
		err = fmt.Errorf("upgrade to %s: %w", t.Name(), err)
		c.raw.needLayer().top = &failedUpgrade{&c.raw, err}
		return err
	}
	return nil
}

// failedUpgrade makes reads and writes fail after a failed upgrade, so that a protocol that ignores
// the error of Upgrade does not continue in plain text.
type failedUpgrade struct {
	*rawConn
	err error
}

func (u *failedUpgrade) Read([]byte) (int, error)  { return 0, u.err }
func (u *failedUpgrade) Write([]byte) (int, error) { return 0, u.err }

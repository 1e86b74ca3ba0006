package shell

import (
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"goranch/protocol"
)

// guest counts a connection whose client has the role Guest, and limits its time.
type guest struct {
	mu    sync.Mutex
	shell *Shell      // nil: not counted
	timer *time.Timer // nil: no time limit
}

// admitGuest applies the limits of guests to a new connection.
func (c *conn) admitGuest() error {
	s := c.shell
	if c.user.Load().Role > Guest {
		c.peer.Conn().Established()
		return nil
	}
	if n := s.guests.Add(1); s.opts.MaxGuests > 0 && n > int64(s.opts.MaxGuests) {
		s.guests.Add(-1)
		return fmt.Errorf("%w: %d clients are connected without authentication, which is the limit", protocol.ErrBadInput, s.opts.MaxGuests)
	}
	c.guest.mu.Lock()
	defer c.guest.mu.Unlock()
	c.guest.shell = s
	if d := s.opts.GuestTimeout; d > 0 {
		c.guest.timer = time.AfterFunc(d, c.guestTimeout)
	}
	return nil
}

// guestTimeout ends the connection unless its client has authenticated in the last moment.
func (c *conn) guestTimeout() {
	if c.user.Load().Role == Guest {
		err := fmt.Errorf("%w: no authentication within %v", protocol.ErrBadInput, c.shell.opts.GuestTimeout)
		c.peer.Outbox().Send(appendTextError(nil, &Error{Message: err.Error()}))
		c.close(err)
	}
}

// setUser sets the user of the connection, and its label.
func (c *conn) setUser(user User) {
	c.user.Store(&user)
	c.peer.Conn().SetLabel("user", labelOf(user.Name))
}

// maxLabel is the length of the longest value of a label, in bytes.
const maxLabel = 128

// labelOf returns a name as the value of a label.
func labelOf(name string) string {
	name = strings.ToValidUTF8(name[:min(len(name), maxLabel)], "\ufffd")
	for len(name) > maxLabel { // of invalid bytes
		_, n := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-n]
	}
	return name
}

// login changes the user of the connection.
func (c *conn) login(user User) {
	c.setUser(user)
	if user.Role > Guest {
		c.guest.end()
		c.peer.Conn().Established()
	}
}

// end uncounts the connection. Calling it again has no effect.
func (g *guest) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shell == nil {
		return
	}
	g.shell.guests.Add(-1)
	g.shell = nil
	if g.timer != nil {
		g.timer.Stop()
		g.timer = nil
	}
}

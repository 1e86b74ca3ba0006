//go:build !unix

package transport

func (c *Conn) rawLender() lender { return nil }

func (c *Conn) discard() bool { return false }

//go:build !unix

package transport

func (c *Conn) rawLender() Lender { return nil }

func (c *Conn) discard() bool { return false }

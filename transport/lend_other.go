//go:build !unix

package transport

func (c *Conn) lend() lender { return &bufferedLender{c: c} }

func (c *Conn) discard() {}

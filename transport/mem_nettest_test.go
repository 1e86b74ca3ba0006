package transport_test

import (
	"net"
	"testing"

	"golang.org/x/net/nettest"
)

func TestMemConnNettest(t *testing.T) {
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		c1, c2 = memConns(t)
		return c1, c2, func() { c1.Close(); c2.Close() }, nil
	})
}

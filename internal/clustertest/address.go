package clustertest

import (
	"net"
	"testing"
)

// FreeAddresses returns addresses of loopback whose ports are free.
func FreeAddresses(t testing.TB, n int) (all []string) {
	t.Helper()
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		all = append(all, ln.Addr().String())
	}
	return all
}

package listenaddr_test

import (
	"fmt"

	"goranch/internal/listenaddr"
)

func Example() {
	a, err := listenaddr.Parse("fd:3")
	fmt.Println(a.Network, a.Address, a.Inherited(), err)
	_, err = listenaddr.Parse("localhost")
	fmt.Println(err)
	// Output:
	// fd 3 true <nil>
	// address "localhost": bad address: use "host:port", "[ipv6]:port", "unix:/path", "unix:@name", "fd:N" or "systemd:NAME"
}

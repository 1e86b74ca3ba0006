package remoteip_test

import (
	"fmt"
	"net"

	"goranch/internal/remoteip"
)

func Example() {
	fmt.Println(remoteip.Key(&net.TCPAddr{IP: net.ParseIP("2001:db8::7"), Port: 4000}))
	// Output: 2001:db8::
}

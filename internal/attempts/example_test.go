package attempts_test

import (
	"fmt"
	"net"
	"time"

	"goranch/internal/attempts"
)

func Example() {
	table := attempts.New(attempts.Options{Free: 2, First: time.Minute})
	addr := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 40000}
	for range 4 {
		if wait, ok := table.Allow(addr); !ok {
			fmt.Println("wait for", wait.Round(time.Minute))
			continue
		}
		fmt.Println("denied")
		table.Fail(addr)
	}
	table.Succeed(addr)
	_, ok := table.Allow(addr)
	fmt.Println(ok)
	// Output:
	// denied
	// denied
	// denied
	// wait for 1m0s
	// true
}

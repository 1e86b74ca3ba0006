package netrules_test

import (
	"fmt"
	"net/netip"
	"os"

	"goranch/conns"
	"goranch/conns/netrules"
)

func Example() {
	file, err := os.CreateTemp("", "bans")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.Remove(file.Name())
	fmt.Fprintln(file, "192.0.2.0/24 deny reason=scanner")
	file.Close()

	networks := new(conns.Networks) // ranch.Options.Networks
	rules, err := netrules.Open(netrules.Options{File: file.Name(), Networks: networks})
	if err != nil {
		fmt.Println(err)
		return
	}
	// A server runs rules.Run(ctx), which reads the file when it has changed.
	fmt.Println(rules.Reload())
	rule, found := networks.Lookup(netip.MustParseAddr("192.0.2.7"))
	fmt.Println(found, netrules.Format(rule))
	// Output:
	// false <nil>
	// true 192.0.2.0/24 deny reason=scanner
}

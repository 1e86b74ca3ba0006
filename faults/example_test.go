package faults_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"goranch/faults"
	"goranch/protocol/echo"
	"goranch/ranch"
	"goranch/transport"
)

// A server answers its clients although each of its reads returns a few bytes, or none.
func Example() {
	t := faults.NewTransport(new(transport.Mem), faults.NewSource(1), faults.Options{})
	l, err := ranch.StartListener("echo", t, ranch.Options{Logger: slog.New(slog.DiscardHandler)}, echo.Protocol{})
	if err != nil {
		fmt.Println(err)
		return
	}
	t.Set(faults.Rates{Partial: 1})
	for range 3 {
		nc, err := t.Dial(context.Background(), l.Addr().String())
		if err != nil {
			fmt.Println(err)
			return
		}
		io.WriteString(nc, "hello")
		answer := make([]byte, 5)
		io.ReadFull(nc, answer)
		fmt.Printf("%s\n", answer)
		nc.Close()
	}
	fmt.Println(l.Stop())
	// Output:
	// hello
	// hello
	// hello
	// <nil>
}

package bots_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"

	"goranch/internal/bots"
	"goranch/protocol/pubsub"
	"goranch/ranch"
	"goranch/transport"
)

func ExampleCommand() {
	s, err := pubsub.NewServer(pubsub.Options{})
	if err != nil {
		panic(err)
	}
	defer s.Close(context.Background())
	l, err := new(ranch.Server).StartListener("topics", transport.TCP{}, ranch.Options{Addr: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler)}, s)
	if err != nil {
		panic(err)
	}
	defer l.Stop()
	_, port, _ := net.SplitHostPort(l.Addr().String())

	var out strings.Builder
	code := bots.Command(context.Background(), []string{"--clients", "100", "--port", port}, &out, os.Stderr)
	for line := range strings.Lines(out.String()) {
		if strings.HasPrefix(line, "good") || strings.HasPrefix(line, "bad") {
			fmt.Print(line)
		}
	}
	fmt.Println("exit code", code)
	// Output:
	// good   100
	// bad    0
	// exit code 0
}

package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"

	"goranch/protocol/shell"
	"goranch/protocol/shell/client"
	"goranch/ranch"
	"goranch/transport"
)

func Example() {
	sh, err := shell.New(shell.Options{Commands: []shell.Command{
		{Name: "rooms", Role: shell.Viewer, Run: func(_ context.Context, c *shell.Call) error {
			fmt.Fprintln(c.Out, "counting")
			c.Return(map[string]int{"lobby": 2})
			return nil
		}},
	}})
	if err != nil {
		log.Fatal(err)
	}
	defer sh.Close(context.Background())
	var server ranch.Server
	l, err := server.StartListener("shell", transport.TCP{}, ranch.Options{Addr: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler)}, sh)
	if err != nil {
		log.Fatal(err)
	}
	defer l.Stop()

	ctx := context.Background()
	c, err := client.Dial(ctx, client.Options{
		Addr:     l.Addr().String(),
		OnOutput: func(p []byte) { os.Stdout.Write(p) },
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Quit(ctx)
	rooms, err := c.Call(ctx, "rooms")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(rooms.Result))
	if _, err := c.Call(ctx, client.Line("set", "topic", "a b")); err != nil {
		log.Fatal(err)
	}
	_, err = c.Call(ctx, "romos")
	var e *shell.Error
	fmt.Println(errors.As(err, &e), e.Suggestion)
	// Output:
	// counting
	// {"lobby":2}
	// true rooms
}

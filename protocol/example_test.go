package protocol_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"goranch/protocol"
	"goranch/ranch"
	"goranch/transport"
)

// A protocol that answers each line until the client closes its side.
func ExampleFunc() {
	shout := protocol.Func(func(_ context.Context, conn *transport.Conn) error {
		in := bufio.NewScanner(conn)
		for in.Scan() {
			if _, err := fmt.Fprintln(conn, strings.ToUpper(in.Text())); err != nil {
				return err
			}
		}
		return in.Err()
	})

	mem := new(transport.Mem)
	l, err := ranch.StartListener("shout", mem, ranch.Options{Addr: "shout", Logger: slog.New(slog.DiscardHandler)}, shout)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Stop()

	nc, err := mem.Dial(context.Background(), "shout")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer nc.Close()
	io.WriteString(nc, "hello\nworld\n")
	nc.(interface{ CloseWrite() error }).CloseWrite()
	answer, err := io.ReadAll(nc)
	fmt.Print(string(answer), err, "\n")
	// Output:
	// HELLO
	// WORLD
	// <nil>
}

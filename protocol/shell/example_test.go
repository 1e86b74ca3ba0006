package shell_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"strings"

	"goranch/protocol/shell"
	"goranch/ranch"
	"goranch/transport"
)

func Example() {
	s, err := shell.New(shell.Options{Commands: []shell.Command{
		shell.Method("double", "Return twice the number.", func(_ context.Context, n int) (int, error) {
			return 2 * n, nil
		}),
		{Name: "rooms", Help: "List all rooms.", Role: shell.Viewer, Run: func(_ context.Context, c *shell.Call) error {
			c.Return(shell.Table{
				Columns: []shell.Column{{Key: "room", Title: "ROOM"}, {Key: "sent", Title: "SENT", Right: true}},
				Rows:    [][]any{{"lobby", shell.Bytes(1536)}, {"chess", shell.Bytes(12)}},
			})
			return nil
		}},
	}})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close(context.Background())
	mem := new(transport.Mem)
	l, err := new(ranch.Server).StartListener("shell", mem, ranch.Options{Addr: "shell"}, s)
	if err != nil {
		log.Fatal(err)
	}
	defer l.Stop()

	client, err := mem.Dial(context.Background(), "shell")
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	in := bufio.NewReader(client)
	id, _ := in.ReadString('\n')
	fmt.Println(strings.HasPrefix(id, "Client identification "))
	io.WriteString(client, "double:21\nrooms\nformat json\nrooms\nquit\n")
	rest, _ := io.ReadAll(in)
	fmt.Print(string(rest))
	// Output:
	// true
	// 42
	// ROOM      SENT
	// lobby  1.5 KiB
	// chess     12 B
	// {"id":3,"result":"json"}
	// {"id":4,"result":[{"room":"lobby","sent":1536},{"room":"chess","sent":12}],"columns":[{"key":"room","title":"ROOM"},{"key":"sent","title":"SENT","kind":"bytes","right":true}]}
	// {"id":5,"result":"bye"}
}

package accesslog_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"goranch/protocol"
	"goranch/ranch"
	"goranch/ranch/accesslog"
	"goranch/transport"
)

func Example() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "access.log")
	log, err := accesslog.Open(path, accesslog.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	hello := protocol.Func(func(_ context.Context, conn *transport.Conn) error {
		conn.SetLabel("user", "ann")
		_, err := conn.Write([]byte("hello"))
		return err
	})
	mem := new(transport.Mem)
	l, err := ranch.StartListener("hello", mem, ranch.Options{
		Addr: "hello", Observer: log.Observe, Logger: slog.New(slog.DiscardHandler),
	}, hello)
	if err != nil {
		fmt.Println(err)
		return
	}
	nc, err := mem.Dial(context.Background(), "hello")
	if err != nil {
		fmt.Println(err)
		return
	}
	io.ReadAll(nc) // until the server closes the connection
	nc.Close()
	l.Stop()
	log.Close(context.Background())

	line, _ := os.ReadFile(path)
	var end struct {
		Listener, Reason string
		Sent             int
		Labels           map[string]string
	}
	json.Unmarshal(line, &end)
	fmt.Println(end.Listener, end.Reason, end.Sent, end.Labels)
	// Output: hello finished 5 map[user:ann]
}

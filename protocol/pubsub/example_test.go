package pubsub_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"regexp"

	"goranch/protocol/pubsub"
	"goranch/ranch"
	"goranch/transport"
)

// A client subscribes over the wire and receives what the program publishes.
func Example() {
	s, err := pubsub.NewServer(pubsub.Options{})
	if err != nil {
		panic(err)
	}
	defer s.Close(context.Background())
	server := &ranch.Server{}
	l, err := server.StartListener("topics", transport.TCP{}, ranch.Options{Addr: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler)}, s)
	if err != nil {
		panic(err)
	}
	defer l.Stop()

	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	next := func() string {
		frame, _ := r.ReadString(0x01)
		return regexp.MustCompile(`\[.*\]|token":"\d+`).ReplaceAllString(frame[:len(frame)-1], "…")
	}
	fmt.Println(next())
	io.WriteString(conn, `{"action":"subscribe","data":"news.*"}`+"\x00")
	fmt.Println(next())
	n, err := s.Publish("news.today", "headline", "1", "it works")
	fmt.Println(n, err)
	fmt.Println(next())
	// Output:
	// {"timestamp":…,"…"}
	// ACK
	// 1 <nil>
	// {"timestamp":…,"topic":"news.today","event":"headline","message_id":"1","data":"it works"}
}

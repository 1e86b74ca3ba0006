package metrics_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"regexp"

	"goranch/protocol"
	"goranch/ranch"
	"goranch/ranch/metrics"
	"goranch/transport"
)

func Example() {
	var server ranch.Server
	hello := protocol.Func(func(_ context.Context, conn *transport.Conn) error {
		_, err := io.WriteString(conn, "hello\n")
		return err
	})
	mem := new(transport.Mem)
	opts := ranch.Options{Addr: "hello", Logger: slog.New(slog.DiscardHandler)}
	l, err := server.StartListener("hello", mem, opts, hello)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Stop()
	client, err := mem.Dial(context.Background(), "hello")
	if err != nil {
		fmt.Println(err)
		return
	}
	io.ReadAll(client)
	client.Close()
	l.WaitForConnections(context.Background(), ranch.Equal, 0)

	response := httptest.NewRecorder()
	metrics.Handler(&server, metrics.Options{}).ServeHTTP(response, httptest.NewRequest("GET", "/metrics", nil))
	fmt.Println(regexp.MustCompile(`goranch_\w+{listener="hello",reason="finished"} .*`).FindString(response.Body.String()))
	fmt.Println(regexp.MustCompile(`goranch_sent_bytes_total.*} .*`).FindString(response.Body.String()))
	// Output:
	// goranch_connections_ended_total{listener="hello",reason="finished"} 1
	// goranch_sent_bytes_total{listener="hello"} 6
}

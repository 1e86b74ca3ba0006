package web_test

import (
	"bufio"
	"context"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"

	"goranch/protocol/pubsub"
	"goranch/protocol/pubsub/web"
	"goranch/ranch"
	"goranch/transport"
)

func Example() {
	topics, err := pubsub.NewServer(pubsub.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer topics.Close(context.Background())
	var mem transport.Mem // for browsers; the same server may listen on TCP too
	var server ranch.Server
	l, err := server.StartListener("topics for browsers", &mem, ranch.Options{Addr: "topics", MaxConnections: ranch.Unlimited, Logger: slog.New(slog.DiscardHandler)}, topics)
	if err != nil {
		log.Fatal(err)
	}
	defer l.Stop()
	gw, err := web.NewGateway(web.Options{
		Dial: func(ctx context.Context) (net.Conn, error) { return mem.Dial(ctx, "topics") },
	})
	if err != nil {
		log.Fatal(err)
	}
	site := httptest.NewServer(gw)
	defer site.Close()
	defer gw.Shutdown(context.Background()) // before the site's

	resp, err := http.Get(site.URL + "/events?topic=news.*")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	n, err := topics.Publish("news.go", "release", "1", "1.26")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(n, "browser")
	lines := bufio.NewScanner(resp.Body)
	for range 3 {
		lines.Scan()
		fmt.Println(lines.Text())
	}
	// Output:
	// 1 browser
	// retry: 2000
	// event: session
	// data: {"resumed":false}
}

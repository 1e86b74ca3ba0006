package client_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"

	"goranch/protocol/pubsub"
	"goranch/protocol/pubsub/client"
	"goranch/ranch"
	"goranch/transport"
)

func Example() {
	topics, err := pubsub.NewServer(pubsub.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer topics.Close(context.Background())
	var server ranch.Server
	l, err := server.StartListener("topics", transport.TCP{}, ranch.Options{Addr: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler)}, topics)
	if err != nil {
		log.Fatal(err)
	}
	defer l.Stop()

	ctx := context.Background()
	c, err := client.Dial(ctx, client.Options{Addr: l.Addr().String()})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	news, err := c.Subscribe(ctx, "news.*", client.SubscribeOptions{})
	if err != nil {
		log.Fatal(err)
	}
	n, err := c.Publish(ctx, "news.go", "release", "1", map[string]string{"version": "1.26"})
	if err != nil {
		log.Fatal(err)
	}
	m, err := news.Next(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(n, m.Topic, m.Event, string(m.Data))
	// Output: 1 news.go release {"version":"1.26"}
}

package natsbroker_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"goranch/protocol/pubsub"
	"goranch/protocol/pubsub/natsbroker"
)

// A message that is published again, on another server, keeps its position.
func Example() {
	dir, err := os.MkdirTemp("", "nats")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	engine, err := server.NewServer(&server.Options{DontListen: true, JetStream: true, StoreDir: dir, NoSigs: true})
	if err != nil {
		panic(err)
	}
	engine.Start()
	defer engine.WaitForShutdown()
	defer engine.Shutdown()

	var nodes []*pubsub.Server
	for range 2 {
		b, err := natsbroker.New(natsbroker.Options{NATS: []nats.Option{nats.InProcessServer(engine)}})
		if err != nil {
			panic(err)
		}
		defer b.Close()
		s, err := pubsub.NewServer(pubsub.Options{Broker: b})
		if err != nil {
			panic(err)
		}
		defer s.Close(context.Background())
		for s.Degraded() != nil {
			time.Sleep(time.Millisecond)
		}
		nodes = append(nodes, s)
	}
	for _, s := range nodes {
		p, err := s.PublishKey(context.Background(), "7f3a", "news.today", "headline", "1", "it works")
		fmt.Println(p.Position.Offset, err)
	}
	// Output:
	// 1 <nil>
	// 1 <nil>
}

// Command mqtt runs the MQTT broker mochi-mqtt on a listener of goranch: the type adapter is a
// listener of the broker. At the cap a client is refused with the CONNACK that its version of the
// protocol has for this.
package main

import (
	"context"
	"flag"
	"io"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"

	"goranch/conns"
	"goranch/ranch"
	"goranch/transport"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:1883", "address to listen on")
	flag.Parse()
	broker, _, err := start(*addr, 1000)
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	<-ctx.Done()
	broker.Close() // sends DISCONNECT to all clients
}

// start starts a broker that admits all clients, up to limit at once.
func start(addr string, limit int) (*mqtt.Server, *adapter, error) {
	broker := mqtt.New(&mqtt.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err := broker.AddHook(new(auth.AllowHook), nil); err != nil {
		return nil, nil, err
	}
	clients := newAdapter("mqtt", transport.TCP{}, ranch.Options{
		Addr:           addr,
		MaxConnections: limit,
		RefuseAfter:    ranch.RefuseAtOnce, // refuse at the cap, instead of leaving clients in the kernel's queue
		Limits:         conns.Limits{PerAddress: 100, AddressRate: conns.Rate{PerSecond: 50, Burst: 100}},
	})
	if err := broker.AddListener(clients); err != nil {
		return nil, nil, err
	}
	return broker, clients, broker.Serve()
}

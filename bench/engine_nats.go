package main

import (
	"errors"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

func init() {
	register(engine{
		name: "nats", about: "nats-server, embedded, one subject",
		fanout: &natsProtocol, start: startNats,
	})
}

func startNats(serveConfig) (string, error) {
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true,
		PingInterval: time.Hour, DisableShortFirstPing: true, // the generator counts bytes, so no pings
	})
	if err != nil {
		return "", err
	}
	s.Start()
	if !s.ReadyForConnections(5 * time.Second) {
		return "", errors.New("nats-server did not start within 5 s")
	}
	return s.Addr().String(), nil
}

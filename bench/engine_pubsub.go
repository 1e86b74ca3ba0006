package main

import "goranch/protocol/pubsub"

func init() {
	register(engine{
		name: "goranch-topics", about: "this library's topic server, one topic",
		fanout: &janusProtocol, start: startTopics,
	})
}

func startTopics(cfg serveConfig) (string, error) {
	s, err := pubsub.NewServer(pubsub.Options{PublishRate: -1, RequestRate: -1, AddressBytes: -1})
	if err != nil {
		return "", err
	}
	return startGoranch(s)(cfg)
}

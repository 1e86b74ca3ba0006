package client

import (
	"context"
	"errors"
)

// Publish publishes a message and waits until the server has acknowledged it. data is any value
// that encoding/json can encode. n is the number of the server's subscribers to which the message
// was handed. While the client is disconnected, Publish waits for a connection.
//
// The error is that of encoding/json; [ErrRefused], which also ends the connection;
// [ErrDisconnected]; the one with which the client has ended; or the cause of ctx, in which case
// the message may have been published.
func (c *Client) Publish(ctx context.Context, topic, event, id string, data any) (n int, err error) {
	if topic == "" {
		return 0, errors.New("publish: empty topic name")
	}
	return c.do(ctx, &request{Action: "publish", Data: struct {
		Topic string `json:"topic"`
		Event string `json:"event"`
		ID    string `json:"message_id"`
		Data  any    `json:"data"`
	}{topic, event, id, data}})
}

// Presence returns how many sessions are subscribed to name, a topic or a pattern, at the server,
// including this client's. Patterns that match a topic do not count for the topic. The errors are
// those of [Client.Publish].
func (c *Client) Presence(ctx context.Context, name string) (n int, err error) {
	if name == "" {
		return 0, errors.New("presence: empty topic name")
	}
	return c.do(ctx, &request{Action: "presence", Data: name})
}

// do waits for a connection and sends a request over it.
func (c *Client) do(ctx context.Context, r *request) (n int, err error) {
	l, err := c.redialer.Await(ctx)
	if err != nil {
		return 0, err
	}
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	return l.do(ctx, r)
}

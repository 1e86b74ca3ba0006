package client

import (
	"context"
	"errors"
)

// Publish publishes a message, and returns to how many subscribers of the server it is under way. data is anything
// that encoding/json can encode. While there is no connection it waits for one. The error is that of
// encoding/json; [ErrRefused], of which the connection dies; [ErrDisconnected]; that of the client; or the
// cause of ctx, in which case the message may have been published.
func (c *Client) Publish(ctx context.Context, topic, event, id string, data any) (n int, err error) {
	if topic == "" {
		return 0, errors.New("publish: the topic is empty")
	}
	return c.ask(ctx, &request{Action: "publish", Data: struct {
		Topic string `json:"topic"`
		Event string `json:"event"`
		ID    string `json:"message_id"`
		Data  any    `json:"data"`
	}{topic, event, id, data}})
}

// Presence returns how many sessions have subscribed to a topic, or to a pattern by this very name, at the
// server, this one included. Errors are as those of Publish.
func (c *Client) Presence(ctx context.Context, topic string) (n int, err error) {
	if topic == "" {
		return 0, errors.New("presence: the topic is empty")
	}
	return c.ask(ctx, &request{Action: "presence", Data: topic})
}

func (c *Client) ask(ctx context.Context, r *request) (n int, err error) {
	l, err := c.keep.Await(ctx)
	if err != nil {
		return 0, err
	}
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	return l.ask(ctx, r)
}

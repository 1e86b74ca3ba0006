package client

import (
	"context"
	"fmt"
	"unicode/utf8"

	"goranch/protocol/pubsub"
)

// Publish publishes a message and waits until the server has acknowledged it. data is any value
// that encoding/json can encode; all texts must be valid UTF-8. n is the number of the server's
// subscribers to which the message was passed. While the client is disconnected, Publish waits for
// a connection. The error is about the arguments, or that of encoding/json; [ErrRefused], which
// also ends the connection; [ErrNotPublished]; [ErrDisconnected]; the one with which the client has
// ended; or the cause of ctx, in which case the message may have been published.
func (c *Client) Publish(ctx context.Context, topic, event, id string, data any) (n int, err error) {
	p, err := c.PublishKey(ctx, "", topic, event, id, data)
	return p.Subscribers, err
}

// PublishKey is Publish for a message that can be published again after [ErrDisconnected],
// [ErrNotPublished] or the cause of ctx: the server delivers one message of a topic with the same
// key within [pubsub.KeyWindow]. Keys have up to 128 bytes; "" is none. All clients share the keys
// of a topic, so that a key should contain random text. The result has the position of the message
// if the topic has positions and there is a key.
func (c *Client) PublishKey(ctx context.Context, key, topic, event, id string, data any) (pubsub.Published, error) {
	if err := checkText("publish", topic, event, id, key); err != nil {
		return pubsub.Published{}, err
	}
	return c.do(ctx, &request{Action: "publish", Key: key, Data: struct {
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
	if err := checkText("presence", name); err != nil {
		return 0, err
	}
	p, err := c.do(ctx, &request{Action: "presence", Data: name})
	return p.Subscribers, err
}

// checkText returns an error if name, a topic or pattern, is empty, or if it or one of the other
// texts is not valid UTF-8, which encoding/json would replace.
func checkText(action, name string, others ...string) error {
	if name == "" {
		return fmt.Errorf("%s: empty topic name", action)
	}
	for _, text := range append(others, name) {
		if !utf8.ValidString(text) {
			return fmt.Errorf("%s: %.100q is not valid UTF-8", action, text)
		}
	}
	return nil
}

// do waits for a connection and sends a request over it.
func (c *Client) do(ctx context.Context, r *request) (p pubsub.Published, err error) {
	l, err := c.redialer.Await(ctx)
	if err != nil {
		return p, err
	}
	if ctx.Err() != nil {
		return p, context.Cause(ctx)
	}
	return l.do(ctx, r)
}

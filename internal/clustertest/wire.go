package clustertest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"goranch/protocol/pubsub"
)

// frame is a frame of a topic server; the fields of all kinds together.
type frame struct {
	Timestamp  []int64 `json:"timestamp"`
	Token      *string `json:"token"`
	Topic      *string `json:"topic"`
	MessageID  string  `json:"message_id"`
	Previous   *uint64 `json:"previous"`
	Subscribed *string `json:"subscribed"`
	Epoch      string  `json:"epoch"`
	Offset     uint64  `json:"offset"`
	Recovered  bool    `json:"recovered"`
	Published  *int    `json:"published"`
	Count      *int    `json:"subscribers"`
	Refused    *string `json:"refused"`
	Error      *string `json:"error"`
}

// errAnswer is the error frame of a server.
var errAnswer = errors.New("the server has answered with an error")

// Wire is a connection to a topic server. Unlike package client it hides nothing. It is used by one
// goroutine, except Close.
type Wire struct {
	nc    net.Conn
	r     *bufio.Reader
	token string // of the session
}

// Open waits for the greeting of a server.
func Open(nc net.Conn) (*Wire, error) {
	w := &Wire{nc: nc, r: bufio.NewReader(nc)}
	nc.SetReadDeadline(time.Now().Add(5 * time.Second))
	f, _, err := w.next()
	if err == nil && f.Token == nil {
		err = errors.New("no greeting")
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	nc.SetReadDeadline(time.Time{})
	w.token = *f.Token
	return w, nil
}

// Close closes the connection.
func (w *Wire) Close() { w.nc.Close() }

func (w *Wire) send(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.nc.Write(append(b, 0))
	return err
}

// next returns the next frame; text is set instead if it is no JSON.
func (w *Wire) next() (f frame, text string, err error) {
	for {
		b, err := w.r.ReadBytes(1)
		if err != nil {
			return f, "", err
		}
		switch text = string(b[:len(b)-1]); {
		case text == "PING":
			if _, err := w.nc.Write([]byte("PONG\x00")); err != nil {
				return f, "", err
			}
			continue
		case !strings.HasPrefix(text, "{"):
			return f, text, nil
		}
		if err := json.Unmarshal(b[:len(b)-1], &f); err != nil {
			return f, "", fmt.Errorf("frame %q: %w", b, err)
		}
		if f.Error != nil {
			return f, "", fmt.Errorf("%w: %s", errAnswer, *f.Error)
		}
		return f, "", nil
	}
}

// request sends a request that is answered with ACK, and ignores messages before that.
func (w *Wire) request(action, data string) error {
	if err := w.send(map[string]string{"action": action, "data": data}); err != nil {
		return err
	}
	w.nc.SetReadDeadline(time.Now().Add(6 * time.Second))
	for {
		if _, text, err := w.next(); err != nil || text == "ACK" {
			return err
		}
	}
}

// Presence returns the number of subscribers of a topic.
func (w *Wire) Presence(topic string) (int, error) {
	if err := w.send(map[string]any{"action": "presence", "data": topic, "id": 1}); err != nil {
		return 0, err
	}
	w.nc.SetReadDeadline(time.Now().Add(6 * time.Second))
	f, _, err := w.next()
	if err == nil && f.Count == nil {
		err = errors.New("no number of subscribers")
	}
	if err != nil {
		return 0, err
	}
	return *f.Count, nil
}

// Publish publishes a message with an id, which is also its key if keyed is set.
func (w *Wire) Publish(rec *Recorder, topic, id string, keyed bool, timeout time.Duration) Answer {
	request := map[string]any{
		"action": "publish", "id": 1, "data": map[string]any{"topic": topic, "event": "e", "message_id": id, "data": nil},
	}
	if keyed {
		request["key"] = id
	}
	e := Event{Kind: Published, Topic: topic, ID: id, Begin: rec.Now(), Answer: Unknown}
	defer func() { rec.Add(e) }()
	w.nc.SetReadDeadline(time.Now().Add(timeout))
	if w.send(request) != nil {
		return e.Answer
	}
	f, _, err := w.next()
	switch {
	case err != nil:
	case f.Refused != nil:
		e.Answer = Refused
	case f.Published != nil:
		e.Answer, e.Position = Accepted, pubsub.Position{Epoch: f.Epoch, Offset: f.Offset}
	}
	return e.Answer
}

// Subscribe subscribes to a topic and records what arrives until the connection ends. It changes
// since to the position of the last message, after which another attachment continues. A nil since
// subscribes without positions.
func (w *Wire) Subscribe(ctx context.Context, rec *Recorder, node, topic string, attachment int, since *pubsub.Position) error {
	request := map[string]any{"action": "subscribe", "data": topic}
	if since != nil {
		request["since"] = since
		if *since == (pubsub.Position{}) {
			request["since"] = struct{}{}
		}
	}
	if err := w.send(request); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, w.Close)()
	asked := since
	if since != nil {
		copied := *since
		asked = &copied
	}
	for {
		f, _, err := w.next()
		e := Event{Attachment: attachment, Node: node, Topic: topic, ID: f.MessageID, Position: pubsub.Position{Epoch: f.Epoch, Offset: f.Offset}}
		switch {
		case err != nil:
			return err
		case f.Subscribed != nil:
			e.Kind, e.Since, e.Recovered = Subscribed, asked, f.Recovered
			asked = nil
			if since != nil {
				*since = e.Position
			}
		case f.Topic != nil && since == nil:
			e.Kind, e.Position = Plain, pubsub.Position{}
		case f.Topic != nil:
			e.Kind, e.Position.Epoch, e.Previous = Delivered, since.Epoch, f.Offset-1
			if f.Previous != nil {
				e.Previous = *f.Previous
			}
			since.Offset = f.Offset
		default:
			continue
		}
		rec.Add(e)
	}
}

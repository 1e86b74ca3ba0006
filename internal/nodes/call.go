package nodes

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"goranch/internal/termtext"
	"goranch/protocol/shell"
)

// call is a command for another node.
type call struct {
	request
	out    io.Writer         // receives output, escaped
	frame  func(v any) error // receives frames
	budget *atomic.Int64     // bytes that all answers may still have
}

// Errors of requests.
var (
	errNoAnswer = errors.New("no answer; the command may have taken effect")
	errTooLarge = fmt.Errorf("the answers exceed %d bytes; ask for less", maxAnswers)
)

// ask runs a command at another node and returns its result. When ctx ends, or the answer cannot be
// used, the command is cancelled.
func (n *Nodes) ask(ctx context.Context, node string, c call) (any, error) {
	c.ID, c.Node, c.Instance = rand.Text(), n.opts.Name, n.dir.instance(node)
	b, err := json.Marshal(c.request)
	if err != nil {
		return nil, err
	}
	if len(b) > maxRequest {
		return nil, shell.Usage("the command exceeds %d bytes", maxRequest)
	}
	inbox := n.nc.NewRespInbox()
	sub, err := n.nc.SubscribeSync(inbox)
	if err != nil {
		return nil, fmt.Errorf("NATS: %w", err)
	}
	defer sub.Unsubscribe()
	sub.SetPendingLimits(queueLength, queueBytes)
	n.counters.asked.Add(1)
	if err := n.nc.PublishRequest(n.subject(requests, node), inbox, b); err != nil {
		return nil, fmt.Errorf("NATS: %w", err)
	}
	v, err := n.receive(ctx, sub, c)
	if err != nil { // the command may still run; if it has ended, the cancel has no effect
		n.nc.Publish(n.subject(cancels, node), []byte(c.ID))
	}
	return v, err
}

// receive returns the result of a request.
func (n *Nodes) receive(ctx context.Context, sub *nats.Subscription, c call) (any, error) {
	for limit := firstTimeout; ; limit = nextTimeout {
		m, err := nextMsg(ctx, sub, limit)
		switch {
		case err != nil:
			return nil, err
		case c.budget.Add(-int64(len(m.Data))) < 0:
			return nil, errTooLarge
		}
		var p part
		if err := json.Unmarshal(m.Data, &p); err != nil {
			return nil, fmt.Errorf("the answer is not valid: %w", err)
		}
		switch {
		case p.Error != nil:
			return nil, p.Error
		case p.Result != nil:
			return parseResult(p.Result)
		case p.Out != "":
			_, err = io.WriteString(c.out, termtext.Lines(p.Out))
		case p.Frame != nil:
			var v any
			if v, err = parseResult(p.Frame); err == nil {
				err = c.frame(v)
			}
		}
		if err != nil {
			return nil, err
		}
	}
}

// nextMsg returns the next message within a limit.
func nextMsg(ctx context.Context, sub *nats.Subscription, limit time.Duration) (*nats.Msg, error) {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	m, err := sub.NextMsgWithContext(limited)
	switch {
	case err == nil:
		return m, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, nats.ErrNoResponders):
		return nil, errors.New("the node is not connected")
	case errors.Is(err, context.DeadlineExceeded):
		return nil, fmt.Errorf("%w (%v)", errNoAnswer, limit)
	}
	return nil, fmt.Errorf("NATS: %w", err)
}

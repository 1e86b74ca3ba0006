package pubsub

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"

	"goranch/protocol"
)

// Position is a place in the order of a topic's messages. Offsets grow with each message of a
// topic, by one or more. They can be compared within one epoch only.
type Position struct {
	Epoch  string `json:"epoch"`
	Offset uint64 `json:"offset"`
}

// maxEpoch limits the length of an epoch that a client sends, in bytes.
const maxEpoch = 128

// parsePosition parses the value of since: a position, or {} for the current one.
func parsePosition(value []byte) (*Position, error) {
	p := new(Position)
	d := json.NewDecoder(bytes.NewReader(value))
	d.DisallowUnknownFields()
	if err := d.Decode(p); err != nil {
		return nil, fmt.Errorf("since: %w", err)
	}
	switch {
	case len(p.Epoch) > maxEpoch:
		return nil, fmt.Errorf("since: epoch of %d bytes, the limit is %d", len(p.Epoch), maxEpoch)
	case p.Epoch == "" && p.Offset != 0:
		return nil, fmt.Errorf("since: offset %d without an epoch", p.Offset)
	}
	return p, nil
}

// numberedFrame returns frame, a message as subscribers receive it, with its offset as the last
// member. Before it is the offset of the topic's previous message, unless that is one less.
func numberedFrame(frame []byte, offset, previous uint64) []byte {
	body := frame[:len(frame)-2] // without } and SOH
	b := append(make([]byte, 0, len(frame)+64), body...)
	if previous != offset-1 {
		b = strconv.AppendUint(append(b, `,"previous":`...), previous, 10)
	}
	b = strconv.AppendUint(append(b, `,"offset":`...), offset, 10)
	return append(b, '}', serverEnd)
}

// subscribedFrame announces to a client that all messages of a topic after a position follow.
// recovered is false if messages between the client's position and this one are lost.
func subscribedFrame(topic string, from Position, recovered bool) []byte {
	b, _ := json.Marshal(struct {
		Subscribed string `json:"subscribed"`
		Position
		Recovered bool `json:"recovered"`
	}{topic, from, recovered})
	return b
}

// since returns the messages after a position, and the position that precedes them. If messages are
// missing between the two positions, recovered is false, and missed is all that is kept. The zero
// position is the current one.
func (h *history) since(p Position, epoch string) (from Position, recovered bool, missed []historyEntry) {
	from = Position{epoch, h.offset}
	if p == (Position{}) {
		return from, true, nil
	}
	missed, from.Offset = h.entries, h.kept()
	if p.Epoch != epoch || p.Offset < from.Offset || p.Offset > h.offset {
		return from, false, missed
	}
	for len(missed) > 0 && missed[0].offset <= p.Offset {
		missed = missed[1:]
	}
	return p, true, missed
}

// errNoPositions refuses a position where messages have none.
func errNoPositions(reason string) error {
	return fmt.Errorf("%w: since: %s", protocol.ErrBadInput, reason)
}

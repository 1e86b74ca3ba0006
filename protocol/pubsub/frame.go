package pubsub

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"goranch/protocol"
)

// Frames of a client end with NUL, frames of the server with SOH.
const (
	clientEnd = 0x00
	serverEnd = 0x01
)

// Frames that are not JSON.
const (
	marker  = "<regular-socket/>" // has no effect
	ping    = "PING"
	pong    = "PONG"
	publish = "PUBLISH" // the next frame is a message
)

// ack confirms a subscribe or attach.
var ack = []byte("ACK")

// Prefixes of frames that the server builds.
const (
	stampPrefix      = `{"timestamp":`
	subscribedPrefix = `{"subscribed":`
	droppedPrefix    = `{"dropped":`
	lostBytesPrefix  = `{"lost_bytes":`
)

// codec divides the stream of a client into pieces and encodes frames of the server. A piece is the
// end of a frame, with its NUL, or what has arrived of a frame so far, without a NUL. The handler
// puts frames together (see incoming), so that it can act on a frame whose NUL has not arrived.
type codec struct{}

func (codec) Decode(buf []byte) (piece []byte, took, need int, err error) {
	n := len(buf)
	if i := bytes.IndexByte(buf, clientEnd); i >= 0 {
		n = i + 1
	}
	return buf[:n:n], n, 0, nil
}

func (codec) Append(dst, frame []byte) ([]byte, error) {
	return append(append(dst, frame...), serverEnd), nil
}

// appendStamp appends t as [megaseconds, seconds, microseconds] since the Unix epoch.
func appendStamp(b []byte, t time.Time) []byte {
	const mega = 1_000_000
	s := t.Unix()
	b = strconv.AppendInt(append(b, '['), s/mega, 10)
	b = strconv.AppendInt(append(b, ','), s%mega, 10)
	b = strconv.AppendInt(append(b, ','), int64(t.Nanosecond()/1000), 10)
	return append(b, ']')
}

// stampedFrame returns the frame in which subscribers receive message, a JSON object.
func stampedFrame(message []byte, at time.Time) []byte {
	b := make([]byte, 0, len(message)+48)
	b = appendStamp(append(b, stampPrefix...), at)
	b = append(append(b, ','), message[1:]...)
	return append(b, serverEnd)
}

// droppedIn returns how many of the frames in b are messages, and how many dropped messages the
// notices in b report. A frame that says where messages continue counts as a message, because the
// client has to ask again. No frame contains SOH, because JSON escapes it.
func droppedIn(b []byte) (messages, reported int) {
	for len(b) > 0 {
		frame, rest, _ := bytes.Cut(b, []byte{serverEnd})
		if bytes.HasPrefix(frame, []byte(stampPrefix)) || bytes.HasPrefix(frame, []byte(subscribedPrefix)) {
			messages++
		} else if n, ok := bytes.CutPrefix(frame, []byte(droppedPrefix)); ok {
			n, err := strconv.Atoi(string(bytes.TrimSuffix(n, []byte("}"))))
			if err == nil {
				reported += n
			}
		}
		b = rest
	}
	return messages, reported
}

// greeting is the first frame that a client receives.
func greeting(token string, at time.Time) []byte {
	b := append(make([]byte, 0, 128), stampPrefix...)
	b = append(appendStamp(b, at), `,"token":`...)
	if strings.Trim(token, "0123456789") == "" { // most are numbers
		b = append(append(append(b, '"'), token...), '"')
	} else {
		t, _ := json.Marshal(token)
		b = append(b, t...)
	}
	return append(b, '}')
}

// sendAlone sends a frame that the client must not receive in one read with others.
func sendAlone(p *protocol.Peer, frame []byte) error {
	return p.Outbox().SendAlone(append(frame[:len(frame):len(frame)], serverEnd))
}

// errorFrame gives the reason why the server closes a connection.
func errorFrame(err error) []byte {
	b, _ := json.Marshal(struct {
		Error string `json:"error"`
	}{err.Error()})
	return b
}

// countFrame is a JSON object whose only value is n.
func countFrame(prefix string, n uint64) []byte {
	return append(strconv.AppendUint([]byte(prefix), n, 10), '}')
}

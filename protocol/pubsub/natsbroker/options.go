package natsbroker

import (
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"goranch/internal/option"
)

// Options configures a [Broker]. The zero value of each field is its default.
type Options struct {
	// URL is the address of the NATS servers, separated by commas. "" is nats.DefaultURL.
	URL string
	// NATS are further options of the connection, such as credentials, TLS, or
	// nats.InProcessServer. They must not replace the callbacks, the reconnection, or NoEcho.
	NATS []nats.Option
	// Prefix is the first token of all subjects, and the stream is named after it. Letters, digits, -
	// and _ are allowed. Brokers with different prefixes do not share topics. "" is "ranch".
	Prefix string
	// Node is the name of this server among the nodes, up to 64 bytes, without spaces and control
	// characters. Two nodes must not have the same name. "" is a random name.
	Node string

	// Ordered reports whether a topic is ordered and has a history in the stream. It must be the
	// same on all nodes. nil orders all topics.
	Ordered func(topic string) bool

	// The following fields are for the stream, if it does not exist. An existing stream is not
	// changed.

	// Replicas is the number of copies of the stream, 1 to 5. 0 is 1.
	Replicas int
	// Keep is the number of messages that are kept of each topic. 0 is 64; negative values are
	// refused.
	Keep int
	// MaxAge is the time for which messages are kept, at least [pubsub.KeyWindow]. 0 is 1 h.
	MaxAge time.Duration
	// MaxBytes limits the size of the stream, in bytes; the oldest messages are removed. 0 is 1
	// GiB; negative values are refused.
	MaxBytes int64
	// Memory keeps the stream in memory instead of files.
	Memory bool

	// OnError receives errors that concern no call, such as messages that are not valid. It is
	// called concurrently. nil ignores them.
	OnError func(error)
}

// Times, which tests change.
var (
	beatInterval  = 5 * time.Second        // between heartbeats, and checks of the stream
	nodeExpiry    = 15 * time.Second       // since the last heartbeat of a node
	checkInterval = 30 * time.Second       // between checks of all topics
	newCheck      = time.Second            // from a subscription until its topic is checked
	createDelay   = time.Second            // before a stream that was deleted is created again
	retryMin      = 250 * time.Millisecond // before the first attempt to find the stream again
	infoTimeout   = time.Second            // of a request to the leader of the stream
)

// Other times and limits.
const (
	fillTimeout     = 2 * time.Second
	presenceTimeout = time.Second
	presenceFresh   = time.Second // an answer is used again
	maxNodes        = 4096
	slowChecks      = 3 // after a full queue, a newCheck apart
)

func (o *Options) validate() error {
	var faults option.Faults
	if strings.ContainsFunc(o.Prefix, func(r rune) bool { return r > 0x7f || !isPlain(byte(r)) }) || len(o.Prefix) > 32 {
		faults.Bad("Prefix", o.Prefix, "up to 32 letters, digits, - and _")
	}
	if o.Node != "" && !isNodeName(o.Node) {
		faults.Bad("Node", o.Node, "up to 64 bytes without spaces and control characters")
	}
	if o.Replicas < 0 || o.Replicas > 5 {
		faults.Bad("Replicas", o.Replicas, "1 to 5, and 0 for 1")
	}
	if o.Keep < 0 {
		faults.Bad("Keep", o.Keep, "positive numbers, and 0 for 64")
	}
	if o.MaxBytes < 0 {
		faults.Bad("MaxBytes", o.MaxBytes, "positive numbers, and 0 for 1 GiB")
	}
	if o.MaxAge != 0 && o.MaxAge < keyWindow {
		faults.Bad("MaxAge", o.MaxAge, "at least 2m, and 0 for 1h")
	}
	return faults.Err()
}

func isNodeName(s string) bool {
	return s != "" && len(s) <= 64 && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f })
}

func (o Options) withDefaults() Options {
	option.Default(&o.URL, nats.DefaultURL)
	option.Default(&o.Prefix, "ranch")
	option.Default(&o.Node, randomToken())
	option.Default(&o.Replicas, 1)
	option.Default(&o.Keep, 64)
	option.Default(&o.MaxAge, time.Hour)
	option.Default(&o.MaxBytes, 1<<30)
	if o.Ordered == nil {
		o.Ordered = func(string) bool { return true }
	}
	if o.OnError == nil {
		o.OnError = func(error) {}
	}
	return o
}

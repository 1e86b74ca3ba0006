package pubsub

import (
	"errors"
	"fmt"
	"math"
	"time"

	"golang.org/x/time/rate"

	"goranch/protocol"
	"goranch/protocol/session"
)

// Defaults of [Options].
const (
	DefaultMaxFrame         = 256 << 10
	DefaultMaxTopic         = 256
	DefaultMaxTopics        = 1 << 20
	DefaultMaxSubscriptions = 1000
	DefaultPublishRate      = 10_000
	DefaultHeartbeat        = 30 * time.Second
	DefaultMissedHeartbeats = 3
	DefaultHistory          = 16
	DefaultHistoryBytes     = 64 << 10
	DefaultHistoryTotal     = 256 << 20
	DefaultRetain           = time.Minute
)

// Options are the settings of a [Server]. The zero value of each field is its default.
type Options struct {
	// MaxFrame is the longest frame of a client in bytes. 0 is 256 KiB; negative values are refused.
	MaxFrame int
	// MaxTopic is the longest name of a topic in bytes. 0 is 256; negative values are refused.
	MaxTopic int
	// MaxTopics is how many topics there may be, patterns included. 0 is 1,048,576; negative
	// values are refused.
	MaxTopics int
	// MaxSubscriptions is how many a session may have. 0 is 1,000; negative values are refused.
	MaxSubscriptions int
	// PublishRate is how many messages per second one connection may publish, with a burst of two seconds'
	// worth; what exceeds it ends the connection. 0 is 10,000; negative is no limit.
	PublishRate int

	// Heartbeat is how long nothing has to be sent to a client before it gets a PING, which comes up to a
	// sixth later. 0 is 30 s; negative is never.
	Heartbeat time.Duration
	// MissedHeartbeats is how many of them in a row a client may leave without sending anything.
	// 0 is 3; negative is no limit.
	MissedHeartbeats int

	// History is how many of its last messages a topic keeps, HistoryBytes how many bytes of them. 0 is
	// 16 and 64 KiB; negative is none. A message that is longer leaves none at all.
	History, HistoryBytes int
	// HistoryTotal is how many bytes of messages all topics keep together; beyond it a topic forgets
	// its own oldest. 0 is 256 MiB; negative is no limit.
	HistoryTotal int
	// Retain is how long a topic without subscribers is kept for its history. 0 is 1 min;
	// negative is not at all.
	Retain time.Duration

	// Queue are the settings of what is sent to a client that does not keep up. Block is refused, since a
	// subscriber must not hold up others. By default the client is closed, with 1 MiB waiting. Its callbacks
	// must not use the server. Frames is the server's own.
	Queue protocol.QueueOptions

	// SessionTTL is how long a session is kept whose connection has gone, and MaxBuffered how many
	// bytes of messages for it, the oldest going first. 0 is 10 min and 64 KiB; negative is for ever, and none.
	SessionTTL  time.Duration
	MaxBuffered int
	// MaxSessions is how many there may be; for a new one beyond that, the one that has been away for the longest
	// time ends. 0 is 100,000; negative is no limit.
	MaxSessions int
	// Store keeps sessions over a restart. nil is none. Then subscriptions take effect again
	// when a client attaches. It belongs to the server, which closes it.
	Store session.Store

	// Authorize says whether a client may do that with a topic. Its error is told to the client,
	// whose connection is closed. nil allows everything. It is called from many goroutines.
	Authorize func(c *Client, a Action, topic string) error
	// Broker connects the server with others. nil is none.
	Broker Broker
	// OnError is called with what goes wrong and concerns no client, such as a Broker that cannot be
	// reached, or a Store. It is called from many goroutines. nil is to ignore it.
	OnError func(error)
}

// Action is what a client wants to do with a topic.
type Action string

const (
	Subscribe Action = "subscribe"
	Publish   Action = "publish"
	Presence  Action = "presence"
)

// ErrLimit is wrapped by the error of a client that exceeds a limit of the options. It is a
// [protocol.ErrBadInput] too.
var ErrLimit = fmt.Errorf("%w: limit exceeded", protocol.ErrBadInput)

func limited(what string, most int) error {
	return fmt.Errorf("%w: %d are allowed: %s", ErrLimit, most, what)
}

// Validate reports every field that cannot be used.
func (o Options) Validate() error {
	var faults []error
	for _, f := range []struct {
		name  string
		value int
	}{{"MaxFrame", o.MaxFrame}, {"MaxTopic", o.MaxTopic}, {"MaxTopics", o.MaxTopics}, {"MaxSubscriptions", o.MaxSubscriptions}} {
		if f.value < 0 || f.value > math.MaxInt32 {
			faults = append(faults, fmt.Errorf("option %s %d: allowed are positive numbers up to 2147483647, and 0 for the default", f.name, f.value))
		}
	}
	if o.Queue.Overflow == protocol.Block {
		faults = append(faults, errors.New("option Queue.Overflow block: allowed are CloseSlow, DropNewest and DropOldest: a subscriber must not hold up others"))
	}
	return errors.Join(append(faults, o.Queue.Validate())...)
}

func (o Options) withDefaults() Options {
	def(&o.MaxFrame, DefaultMaxFrame)
	def(&o.MaxTopic, DefaultMaxTopic)
	def(&o.MaxTopics, DefaultMaxTopics)
	def(&o.MaxSubscriptions, DefaultMaxSubscriptions)
	def(&o.PublishRate, DefaultPublishRate)
	def(&o.Heartbeat, DefaultHeartbeat)
	def(&o.MissedHeartbeats, DefaultMissedHeartbeats)
	def(&o.History, DefaultHistory)
	def(&o.HistoryBytes, DefaultHistoryBytes)
	def(&o.HistoryTotal, DefaultHistoryTotal)
	def(&o.Retain, DefaultRetain)
	if o.OnError == nil {
		o.OnError = func(error) {}
	}
	return o
}

func def[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// pace returns the limit of one connection's publishes.
func (o *Options) pace() *rate.Limiter {
	if o.PublishRate < 0 {
		return rate.NewLimiter(rate.Inf, 0)
	}
	return rate.NewLimiter(rate.Limit(o.PublishRate), 2*o.PublishRate)
}

package pubsub

import (
	"math"
	"time"

	"goranch/internal/bucket"
	"goranch/internal/option"
	"goranch/protocol"
	"goranch/protocol/session"
)

// Options configures a [Server]. The zero value of each field is its default.
type Options struct {
	// Limits of one client.

	// MaxFrame limits the length of a client's frame, in bytes. 0 is 256 KiB; negative values are
	// refused.
	MaxFrame int
	// MaxTopic limits the length of a topic name, in bytes. 0 is 256; negative values are refused.
	MaxTopic int
	// MaxSubscriptions limits the subscriptions of one session. 0 is 1,000; negative values are
	// refused.
	MaxSubscriptions int
	// PublishRate limits the messages per second that one connection publishes, with bursts of
	// twice that number; a connection that exceeds it is ended as bad input. 0 is 10,000;
	// transport.NoLimit or another negative value disables the limit.
	PublishRate int
	// RequestRate limits the frames per second that one connection sends, whatever they contain,
	// with bursts of twice that number; a connection that exceeds it is ended as bad input. Each 2
	// KiB of a frame, and of the history that answers a subscribe request, count as a further
	// frame. 0 is 20,000; transport.NoLimit or another negative value disables the limit.
	RequestRate int
	// FrameTimeout is how long a frame may take to arrive; a connection on which one takes longer
	// is closed. 0 is 1 min; transport.NoTimeout or another negative value disables the limit.
	FrameTimeout time.Duration
	// AddressBytes limits the memory for the connections of one source address (IPv6: one /64):
	// their subscriptions, each with 512 bytes and the length of its name, and with a quarter of
	// the limit the buffers of incomplete frames of more than 16 KiB. A request beyond the limit
	// ends its connection as bad input. Connections without an IP address are limited by TotalBytes
	// only. 0 is a share of the unused part of the limits for all addresses: a 32nd of TotalBytes,
	// a 64th for incomplete frames, a 32nd of MaxTopics but at least 16 topics, and a 32nd of the
	// 1,024 arrangements of wildcards of long patterns. transport.NoLimit or another negative value
	// disables the limit.
	AddressBytes int
	// TotalBytes limits the same memory for all connected clients together. 0 is
	// 512 MiB; transport.NoLimit or another negative value disables the limit.
	TotalBytes int
	// Queue limits the data that is queued for a client. The default closes a client for which more
	// than 1 MiB waits. The policy protocol.Block is refused, because one subscriber must not delay
	// the others. The callbacks must not use the server. The server sets Frames itself.
	Queue protocol.QueueOptions

	// Heartbeats.

	// Heartbeat is the time without output to a client after which the server sends PING; a PING is
	// up to a sixth late. 0 is 30 s; transport.NoTimeout or another negative value sends none.
	Heartbeat time.Duration
	// MissedHeartbeats is how many PINGs in a row a client may leave unanswered, by sending nothing
	// at all, before its connection is ended as bad input. 0 is 3; transport.NoLimit or another
	// negative value never closes it.
	MissedHeartbeats int

	// Topics and their history.

	// MaxTopics limits the number of topics with subscribers, patterns included. 0 is 1,048,576;
	// negative values are refused.
	MaxTopics int
	// History is the number of recent messages that a topic keeps, and HistoryBytes their total
	// length. A message longer than HistoryBytes empties the history. 0 is 16 messages and 64 KiB;
	// negative values keep no history.
	History, HistoryBytes int
	// HistoryTotal limits the memory of all histories together, including the topics that are kept
	// only for their history, in bytes. Beyond the limit a history of the source address is dropped
	// whose messages take the most, or at least half as much: that of the topic without subscribers
	// whose last message is the oldest; if all have subscribers, of the oldest of them. A history
	// counts for the address that has published its last message. 0 is 256 MiB; transport.NoLimit
	// or another negative value disables the limit.
	HistoryTotal int
	// Retain is how long the history of a topic without subscribers is kept after its last message.
	// 0 is 1 min; negative values remove it with the last subscriber.
	Retain time.Duration

	// MaxKeys limits the messages with keys (KeyWindow) within 2 minutes, which take about 256
	// bytes each. One source address may have a 32nd of the unused part. Messages beyond the limits
	// are refused. 0 is 1,048,576; transport.NoLimit or another negative value disables the limit.
	MaxKeys int

	// Sessions.

	// SessionTTL is how long a detached session is kept. 0 is 10 min; transport.NoTimeout or
	// another negative value keeps it until MaxSessions is reached.
	SessionTTL time.Duration
	// MaxBuffered limits the messages that a detached session buffers, in bytes; the oldest are
	// dropped first. 0 is 64 KiB; negative values buffer nothing.
	MaxBuffered int
	// MaxSessions limits the number of sessions. A new session beyond the limit ends a detached
	// one. 0 is 100,000; transport.NoLimit or another negative value disables the limit. Their
	// memory is limited to the default of [session.Options].
	MaxSessions int
	// MaxSessionsPerAddress limits the detached sessions of one source address (IPv6: one /64); the
	// oldest ends. 0 is 1,000, which may also use at most 4 MiB; transport.NoLimit or another
	// negative value disables both limits.
	MaxSessionsPerAddress int
	// Store keeps the sessions across a restart; their subscriptions take effect when the client
	// attaches. The server owns the store and closes it. nil keeps them in memory only.
	Store session.Store

	// Integration.

	// Authorize decides whether a client may perform an action on a topic. A non-nil error is sent
	// to the client, and its connection is closed. Authorize is called concurrently. nil allows
	// everything.
	Authorize func(c *Client, a Action, topic string) error
	// Broker connects this server with others. nil is none.
	Broker Broker
	// OnError receives errors that concern no client, such as those of Broker and Store. It is
	// called concurrently. nil ignores them.
	OnError func(error)
}

// Action is an operation on a topic, which Options.Authorize allows or refuses.
type Action string

const (
	ActionSubscribe Action = "subscribe"
	ActionPublish   Action = "publish"
	ActionPresence  Action = "presence" // asks for the number of subscribers
)

func (o *Options) validate() error {
	var faults option.Faults
	for _, f := range []struct {
		field string
		value int
		zero  string
	}{
		{"MaxFrame", o.MaxFrame, "0 for 262144"},
		{"MaxTopic", o.MaxTopic, "0 for 256"},
		{"MaxTopics", o.MaxTopics, "0 for 1048576"},
		{"MaxSubscriptions", o.MaxSubscriptions, "0 for 1000"},
	} {
		if f.value < 0 || f.value > math.MaxInt32 {
			faults.Bad(f.field, f.value, "positive numbers up to 2147483647, and "+f.zero)
		}
	}
	if o.Queue.Overflow == protocol.Block {
		faults.Bad("Queue.Overflow", o.Queue.Overflow,
			"CloseSlow, DropNewest and DropOldest, because one subscriber must not delay the others")
	}
	faults.Add(protocol.Options{Queue: o.Queue}.Validate())
	return faults.Err()
}

func (o Options) withDefaults() Options {
	option.Default(&o.MaxFrame, 256<<10)
	option.Default(&o.MaxTopic, 256)
	option.Default(&o.MaxTopics, 1<<20)
	option.Default(&o.MaxSubscriptions, 1000)
	option.Default(&o.PublishRate, 10_000)
	option.Default(&o.RequestRate, 20_000)
	option.Default(&o.FrameTimeout, time.Minute)
	option.Default(&o.TotalBytes, 512<<20)
	option.Default(&o.Heartbeat, 30*time.Second)
	option.Default(&o.MissedHeartbeats, 3)
	option.Default(&o.History, 16)
	option.Default(&o.HistoryBytes, 64<<10)
	option.Default(&o.HistoryTotal, 256<<20)
	option.Default(&o.Retain, time.Minute)
	option.Default(&o.MaxKeys, 1<<20)
	if o.OnError == nil {
		o.OnError = func(error) {}
	}
	return o
}

// keepsHistory reports whether topics keep messages, at least while they have subscribers.
func (o *Options) keepsHistory() bool { return o.History > 0 && o.HistoryBytes > 0 }

// allow takes n tokens from a bucket of one connection with a limit per second, of which the burst
// is twice as many. A negative limit allows all.
func (s *Server) allow(b *bucket.Bucket, n, perSecond int) bool {
	return perSecond < 0 || b.Take(n, float64(perSecond), 2*perSecond, s.now()) == 0
}

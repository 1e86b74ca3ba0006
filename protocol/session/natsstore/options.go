package natsstore

import (
	"regexp"
	"time"

	"goranch/internal/option"
)

// Options are the settings of a store. The zero value of each field is its default.
type Options struct {
	// Bucket is the name of the key-value bucket. All nodes that share sessions must use the same
	// one, and each set of sessions its own. It contains letters, digits, "-" and "_". "" is
	// "sessions".
	Bucket string
	// Node is a name of this node of up to 64 bytes. It is in the records, for operators. It need
	// not be unique, because each store adds a random number. "" is none.
	Node string
	// Replicas is the number of servers on which a new bucket is stored, 1 to 5. 0 is 1: all
	// sessions are lost with the disk of that server.
	Replicas int
	// MaxBytes limits the size of a new bucket in bytes. When it is full, new sessions are refused,
	// and sessions whose state has grown are not saved until it has space again. 0 is 1 GiB;
	// transport.NoLimit, -1, is no limit.
	MaxBytes int64
	// MaxState limits the stored form of a session's state in bytes. 0 is 256 KiB. The maximum
	// payload of the server limits it in any case.
	MaxState int
	// Timeout limits the time of each request to the server. 0 is 5 seconds.
	Timeout time.Duration
}

const (
	defaultMaxBytes = 1 << 30
	defaultMaxState = 256 << 10
	maxNode         = 64
)

var bucketName = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)

func (o Options) validate() error {
	var f option.Faults
	if o.Bucket != "" && !bucketName.MatchString(o.Bucket) {
		f.Bad("Bucket", o.Bucket, `letters, digits, "-" and "_"`)
	}
	if len(o.Node) > maxNode {
		f.Bad("Node", o.Node, "names of up to 64 bytes")
	}
	if o.Replicas < 0 || o.Replicas > 5 {
		f.Bad("Replicas", o.Replicas, "0 for 1, and 1 to 5")
	}
	if o.MaxBytes < -1 {
		f.Bad("MaxBytes", o.MaxBytes, "positive numbers, 0 for 1 GiB, and NoLimit")
	}
	f.NotNegative("MaxState", o.MaxState, "0 for 256 KiB")
	f.Positive("Timeout", o.Timeout, "0 for 5s")
	return f.Err()
}

func (o Options) withDefaults() Options {
	option.Default(&o.Bucket, "sessions")
	option.Default(&o.Replicas, 1)
	option.Default(&o.MaxBytes, defaultMaxBytes)
	option.Default(&o.MaxState, defaultMaxState)
	option.Default(&o.Timeout, 5*time.Second)
	return o
}

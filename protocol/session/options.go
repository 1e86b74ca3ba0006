package session

import (
	"encoding/json"
	"net"
	"time"

	"goranch/internal/option"
)

// Options are the settings of a [Manager]. The zero value of each field is its default.
type Options[T any] struct {
	// TTL is how long a detached session is kept. 0 is 10 minutes; transport.NoTimeout, or any
	// other negative value, keeps sessions until they are ended.
	TTL time.Duration
	// Max is the largest number of sessions, attached or not. 0 is 100,000; transport.NoLimit, or
	// any other negative value, is no limit.
	Max int
	// Evict makes Create evict a detached session when there are Max sessions, instead of returning
	// ErrTooMany; see Priority for the order. A client that opens many sessions can then end those
	// of other detached clients, but cannot lock new clients out. Attached sessions are never
	// evicted.
	Evict bool
	// Keep reports whether a session is worth keeping without a connection. Of sessions that are
	// not, at most 1,000 are kept when they are detached; they are evicted before all others and
	// are not saved. nil keeps all sessions. It is called with the session locked.
	Keep func(*T) bool
	// Priority is how valuable a detached session is: sessions of lower priority are evicted first,
	// of the same priority those that were attached for less than a minute, then those detached
	// longest. 0 is the lowest, 3 the highest; nil is 0 for all. It is called with the session
	// locked.
	Priority func(*T) int
	// Size returns how many bytes a state takes. nil is 0. It is called with the session locked.
	Size func(*T) int
	// MaxBytes limits the memory of detached sessions: their states, their kept output, and 512
	// bytes each. Beyond it sessions are evicted. 0 is 256 MiB; transport.NoLimit, or any other
	// negative value, is no limit.
	MaxBytes int
	// MaxPerAddress limits the number, and MaxBytesPerAddress the memory, of the detached sessions
	// whose last connection came from one source address (IPv6: one /64); beyond them the session
	// of that address that was detached longest is evicted. Unix sockets and in-memory connections
	// are not limited. 0 is 1,000 and 4 MiB; transport.NoLimit, or any other negative value, is no
	// limit.
	MaxPerAddress, MaxBytesPerAddress int
	// MaxOutput is how many bytes of output are kept for a detached session; beyond it the oldest
	// pieces are dropped. 0 is 64 KiB; negative keeps none.
	MaxOutput int
	// NewID generates ids of 1 to 128 bytes. nil generates 128 random bits as a decimal number. If
	// the ids of four calls are all in use, as with [DJBID] for a repeated address, a random id is
	// used instead.
	NewID func(remote net.Addr) (string, error)
	// Store saves sessions across restarts. nil keeps them in memory only. The manager owns the
	// Store and closes it.
	Store Store
	// Marshal and Unmarshal convert the state to and from its stored form. Either both or neither
	// must be set; nil is encoding/json. Marshal is called with the session locked. Unmarshal must
	// not retain the bytes.
	Marshal   func(*T) ([]byte, error)
	Unmarshal func([]byte, *T) error
	// OnError is called with errors that occur in the background, such as a Store that cannot be
	// written. Repeated failures of the Store are reported once, until a Save has succeeded. nil
	// ignores them; Stats counts them in any case. OnError is called from several goroutines and
	// must not wait for the manager, because Create, Sync and Close wait for OnError.
	OnError func(error)
	// OnEnd is called once for each session that has ended or expired, or that another process or
	// node has taken over, without locks held, with its unbound handle, in the goroutine that ended
	// the session, or in its own one. It must not call Close, which ends no sessions.
	OnEnd func(s *Session[T])
}

func (o Options[T]) validate() error {
	var f option.Faults
	if (o.Marshal == nil) != (o.Unmarshal == nil) {
		set := "Marshal"
		if o.Marshal == nil {
			set = "Unmarshal"
		}
		f.Bad("Marshal, Unmarshal", "(only "+set+" set)", "both or neither")
	}
	return f.Err()
}

func (o Options[T]) withDefaults() Options[T] {
	option.Default(&o.TTL, 10*time.Minute)
	option.Default(&o.Max, 100_000)
	option.Default(&o.MaxOutput, 64<<10)
	option.Default(&o.MaxBytes, 256<<20)
	option.Default(&o.MaxPerAddress, 1000)
	option.Default(&o.MaxBytesPerAddress, 4<<20)
	if o.NewID == nil {
		o.NewID = randomID
	}
	if o.Marshal == nil {
		o.Marshal = func(state *T) ([]byte, error) { return json.Marshal(state) }
		o.Unmarshal = func(b []byte, state *T) error { return json.Unmarshal(b, state) }
	}
	return o
}

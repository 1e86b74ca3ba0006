// Package session keeps state that outlives a connection: a client that was cut off comes
// back over another connection, names its session, and goes on where it was.
//
//	sessions, err := session.New(session.Options[State]{TTL: time.Hour})
//	…
//	lease, err := sessions.Create(ctx, conn.RemoteAddr(), holder, State{Dir: "/"}) // a new client: tell it lease.ID()
//	lease, err := sessions.Attach(ctx, id, conn.RemoteAddr(), holder)              // one that comes back
//	…
//	lease.Do(func(s *State) { s.Dir = dir }) // changes the state
//	lease.Output(answer)                     // to the client
//	…
//	lease.Detach() // the connection has gone; or lease.End(), for good
//
// A session is created with an id that nobody can guess, attached to one connection at a
// time, and kept for a time after that has gone. Who presents the id takes the session over. The id is a
// password: it belongs neither into logs nor over networks that others read.
//
// # Holders
//
// A [Holder] is how a session reaches its connection. Its [Lease] is how the connection reaches the session, and
// becomes stale in the instant in which another attaches: of two connections that want a session
// one has it, and the other is told. What goes on without a connection, such as a
// command that runs for long, keeps the [Session].
//
// # Output
//
// What a session says while nobody is attached is kept, in the pieces in which it was given, up to
// Options.MaxOutput bytes, and delivered first to who attaches next. What does not fit goes whole
// pieces at a time, the oldest first; a [Resumer] is told how much it was. Each piece is given to one holder
// that takes it, in order. What a holder took and the network then lost is lost.
//
// # Stores
//
// With a [Store], such as that of package boltstore, sessions are there again after a restart. Create returns when
// the session is saved; changes, detaching and ends are saved within 100 ms, many sessions in one Save;
// [Lease.Sync] waits for it. A Store that fails costs Create and Sync an error. Everything else goes on in memory,
// and is saved when the Store works again. Output that waits is not stored.
//
// # Goroutines
//
// One saves while there is something to save, one sweeps while there are sessions that can expire. [Manager.Close] ends them.
package session

import (
	"errors"
	"net"
	"time"
)

var (
	// ErrUnknown is the error for an id that names no session, whatever the reason: never
	// given out, expired, ended, or malformed. It is meant to tell a guesser nothing.
	ErrUnknown = errors.New("unknown or expired session")
	// ErrTooMany is returned by Create when there are as many sessions as there may be.
	ErrTooMany = errors.New("too many sessions")
	// ErrTooManyAttempts is returned by Attach to an address that has named too many unknown ids.
	ErrTooManyAttempts = errors.New("too many attempts to resume a session")
	// ErrStale is returned to a holder of a session that somebody else has taken over since.
	ErrStale = errors.New("the session was taken over")
	// ErrClosed is returned by everything once the manager was closed.
	ErrClosed = errors.New("the sessions' manager is closed")
)

// Options are the settings of a [Manager]. The zero value of each field is its default.
type Options[T any] struct {
	// TTL is how long a session is kept that nobody is attached to. 0 is 10 minutes; negative is for ever.
	TTL time.Duration
	// Max is how many sessions there may be, attached or not. 0 is 100,000; negative is no limit.
	Max int
	// MakeRoom has Create, when there are Max sessions, end the one that nobody has been attached to for
	// the longest time, instead of refusing: who opens many sessions and leaves them then ends those of others who are away, but
	// does not lock out whoever comes. It does nothing with a negative TTL.
	MakeRoom bool
	// MaxOutput is how many bytes of output are kept for a session while nobody is attached; the
	// oldest goes first. 0 is 64 KiB; negative is none.
	MaxOutput int
	// NewID makes ids of 1 to 128 bytes. nil is [RandomID]. When it makes an id that is taken four
	// times, as [DJBID] will if an address comes back, RandomID is asked instead.
	NewID func(remote net.Addr) (string, error)
	// Store keeps sessions over a restart. nil is none: they live as long as the process. It belongs to
	// the manager, which closes it.
	Store Store
	// Marshal and Unmarshal turn a session's state into what the Store keeps, and back. They are given
	// both or neither; nil is encoding/json's. Marshal is called with the session locked; Unmarshal must not keep the bytes.
	Marshal   func(*T) ([]byte, error)
	Unmarshal func([]byte, *T) error
	// OnError is called with what goes wrong in the background, such as a Store that cannot write.
	// nil is to ignore it; it is counted all the same. A Store that fails again and again is told once,
	// until it has worked in between. OnError may be called from several goroutines, and must not wait for
	// the manager: Create, Sync and Close wait for it.
	OnError func(error)
	// OnEnd is called once for each session that has ended or expired, with no lock held, by who ended it or by
	// the goroutine that sweeps, which waits for it. It must not call Close, which ends no session.
	OnEnd func(s *Session[T])
}

// Holder is what a session is attached to: one connection.
type Holder interface {
	// Deliver sends output to the client, in order, without waiting for it. It is called with the
	// session locked and must neither call the session nor keep output. An error says that the client
	// gets no more here: this output and what follows are kept for who attaches next.
	Deliver(output []byte) error
	// TakenOver is called once, when another connection has attached to the session, in a goroutine
	// of its own.
	TakenOver(by net.Addr)
}

// Resumer is a [Holder] with something to say before the output that was kept is delivered to it.
type Resumer interface {
	// Resumed is called by Attach before the first Deliver, under the rules of that. lost is how many bytes of
	// output were dropped, all of them older than what is delivered now. They are told again to the next
	// holder if this one got nothing: it returned an error here or for the first Deliver.
	Resumed(lost int) error
}

// Ender is a [Holder] that wants to know when its session is ended by [Manager.End].
type Ender interface {
	// Ended is called once, in a goroutine of its own.
	Ended()
}

// Record is a session as a [Store] keeps it.
type Record struct {
	ID         string
	Generation uint64 // counts attachments, over restarts too
	Created    time.Time
	Seen       time.Time // when it was detached, or saved last
	Attached   bool      // it was attached when it was saved
	State      []byte
}

// Store keeps sessions over a restart. Its methods may be called from any goroutine.
type Store interface {
	// Load returns the record, or ErrUnknown.
	Load(id string) (Record, error)
	// Save writes all of them, and deletes those named, in one step: after a crash either all of it has happened
	// or nothing. It returns when it is on disk.
	Save(put []Record, remove []string) error
	// Each calls f with every record, in no order, until it returns false. f keeps nothing of
	// the record's State.
	Each(f func(Record) bool) error
	Close() error
}

// Stats counts what has happened since the manager was made, and what is.
type Stats struct {
	Attached, Detached                          int
	Created, Resumed, TakenOver, Expired, Ended uint64
	Evicted                                     uint64 // by MakeRoom
	Refused                                     uint64 // too many, unknown, or too many attempts
	OutputDropped, StoreErrors, Loaded          uint64
}

// Info describes one session.
type Info struct {
	ID         string
	Attached   bool
	Remote     net.Addr // of the connection attached, or attached last
	Created    time.Time
	Since      time.Time // attached or detached since
	Expires    time.Time // zero: never, or attached
	Generation uint64
	Buffered   int // bytes of output that wait for somebody to attach
}

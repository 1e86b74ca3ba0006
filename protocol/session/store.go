package session

import (
	"io"
	"time"
)

// Record is a session as a [Store] saves it.
type Record struct {
	ID         string
	Generation uint64 // number of attachments, including those before restarts
	Created    time.Time
	Seen       time.Time // when the session was detached; if it is attached, when it was saved
	Attached   bool      // whether the session was attached when it was saved
	State      []byte    // result of Options.Marshal
	// TTL is how long a [NodeStore] keeps the record without another Save. 0 is until it is
	// removed. Other stores ignore it.
	TTL time.Duration
}

// Store saves sessions across restarts. Its methods are called from several goroutines.
type Store interface {
	// Save writes the records in put and deletes the ids in remove, in one atomic step: after a
	// crash the store holds either all of it or none. It returns when the data is durable.
	Save(put []Record, remove []string) error
	// Each calls f with every record, in no particular order, until f returns false. The State of
	// a record is valid only until f returns.
	Each(f func(Record) bool) error
	io.Closer
}

package natsbroker

import (
	"errors"
	"slices"
	"time"
)

const (
	maxFormer = 16
	// formerDelay is how long only a former stream has to be found until it is used again, such as one
	// that an operator has restored from a backup.
	formerDelay = 15 * time.Second
)

var errFormer = errors.New("a NATS server has answered that does not know of the current stream yet")

// formerStreams are the streams that were followed by another one. A server that starts again
// answers requests about such a stream until it hears that it was deleted; if the broker used it
// again, its clients would be told of two epochs in turn, and receive messages twice.
type formerStreams struct {
	epochs []string  // the last ones
	since  time.Time // when one of them was found instead of the current one; zero: not since that was found
}

// check returns errFormer if the stream of the epoch, which is not the current one, must not be used now.
func (f *formerStreams) check(epoch string) error {
	if !slices.Contains(f.epochs, epoch) {
		return nil
	}
	if f.since.IsZero() {
		f.since = time.Now()
	}
	if time.Since(f.since) < formerDelay {
		return errFormer
	}
	return nil
}

// current records that the current stream was found.
func (f *formerStreams) current() { f.since = time.Time{} }

// replace records that the stream of the epoch before is followed by the one of the epoch after.
func (f *formerStreams) replace(before, after string) {
	f.current()
	f.epochs = slices.DeleteFunc(f.epochs, func(e string) bool { return e == after })
	if f.epochs = append(f.epochs, before); len(f.epochs) > maxFormer {
		f.epochs = f.epochs[1:]
	}
}

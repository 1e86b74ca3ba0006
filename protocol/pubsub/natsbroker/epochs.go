package natsbroker

import (
	"errors"
	"slices"
	"time"
)

const (
	maxFormer = 16
	// formerDelay is how long a former stream must be found instead of the current one before it is
	// used again, for example after an operator has restored it from a backup.
	formerDelay = 15 * time.Second
)

var errFormer = errors.New("a NATS server still answers for a former stream")

// formerStreams are the streams that were replaced by another one. A restarted server answers
// requests for such a stream until it has learned of the deletion; if the broker used it again,
// clients would alternate between two epochs and receive messages twice.
type formerStreams struct {
	epochs []string  // the last ones
	since  time.Time // when one of them was found instead of the current one; zero: not since that was found
}

// check returns errFormer if the stream of the epoch, which is not the current one, must not be
// used now.
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

// Package boltstore keeps sessions in one file, over restarts and crashes.
//
//	store, err := boltstore.Open("/var/lib/shell/sessions.db", boltstore.Options{})
//	if err != nil {
//		return err
//	}
//	sessions, err := session.New(session.Options[State]{Store: store}) // closes it
//
// The file is a bbolt database, which one process may have open at a time. It holds the ids of
// the sessions, which are all that is needed to resume them: only its owner may read it.
//
// Each Save costs a wait for the disk. The manager has many sessions share one.
package boltstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"goranch/protocol/session"
)

// DefaultLockTimeout is the default of Options.LockTimeout.
const DefaultLockTimeout = time.Second

var (
	// ErrLocked is returned by Open when another process, or this one, has the file open.
	ErrLocked = errors.New("the file of sessions is in use")
	// ErrCorrupt is returned for a file that is none of ours, or was damaged.
	ErrCorrupt = errors.New("the file of sessions is damaged, or is none")
	// ErrClosed is returned by a store that was closed.
	ErrClosed = errors.New("the store of sessions is closed")
)

// Options are the settings of a [Store]. The zero value of each field is its default.
type Options struct {
	// LockTimeout is how long Open waits for another process to close the file. 0 is 1 s; negative is not at all.
	LockTimeout time.Duration
}

// Store is a [session.Store] in a file.
type Store struct {
	db *bbolt.DB
}

var bucket = []byte("sessions/1")

// Open opens the file, and makes it with mode 0600 if there is none; its directory has to be there. The error
// is ErrLocked, ErrCorrupt or one of the file system's, wrapped. A file that others may read is refused, with
// fs.ErrPermission, and so is one that cannot be written.
func Open(path string, opts Options) (*Store, error) {
	timeout := opts.LockTimeout
	switch {
	case timeout == 0:
		timeout = DefaultLockTimeout
	case timeout < 0:
		timeout = time.Nanosecond // 0 is for ever there
	}
	if err := checkFile(path); err != nil {
		return nil, fmt.Errorf("file of sessions %s: %w", path, err)
	}
	db, err := open(path, timeout)
	if err != nil {
		return nil, fmt.Errorf("file of sessions %s: %w", path, err)
	}
	s := &Store{db: db}
	if err := errors.Join(s.prepare(), syncDir(path)); err != nil {
		db.Close()
		return nil, fmt.Errorf("file of sessions %s: %w", path, err)
	}
	return s, nil
}

// open is bbolt's, whose panics about a damaged file are errors here.
func open(path string, timeout time.Duration) (db *bbolt.DB, err error) {
	defer guard(&err)()
	db, err = bbolt.Open(path, 0o600, &bbolt.Options{Timeout: timeout, FreelistType: bbolt.FreelistMapType})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("%w by another process: %w", ErrLocked, err)
	case isDamage(err):
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return db, err
}

// isDamage reports what bbolt says of a file that is none of its own. It has no error value for a short one.
func isDamage(err error) bool {
	var path *fs.PathError
	return err != nil && !errors.As(err, &path) && (errors.Is(err, bolterrors.ErrInvalid) ||
		errors.Is(err, bolterrors.ErrChecksum) || errors.Is(err, bolterrors.ErrVersionMismatch) || strings.HasPrefix(err.Error(), "file size too small"))
}

// guard makes an error of a panic, and of a fault in reading the file, which is mapped into memory.
func guard(err *error) func() {
	before := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(before)
		if p := recover(); p != nil {
			*err = fmt.Errorf("%w: %v", ErrCorrupt, p)
		}
	}
}

func (s *Store) prepare() (err error) {
	defer guard(&err)()
	return s.db.Update(func(tx *bbolt.Tx) error {
		if info, err := os.Stat(s.db.Path()); err != nil {
			return err
		} else if info.Size() < tx.Size() { // it would be found out by a fault, late
			return fmt.Errorf("%w: it has %d bytes of %d", ErrCorrupt, info.Size(), tx.Size())
		}
		_, err := tx.CreateBucketIfNotExists(bucket)
		return err
	})
}

// Load returns the record of the session, or session.ErrUnknown.
func (s *Store) Load(id string) (r session.Record, err error) {
	defer guard(&err)()
	err = s.db.View(func(tx *bbolt.Tx) error {
		v := tx.Bucket(bucket).Get([]byte(id))
		if v == nil {
			return session.ErrUnknown
		}
		var err error
		r, err = decode([]byte(id), v)
		r.State = append([]byte(nil), r.State...)
		return err
	})
	return r, told(err)
}

// Save writes and removes in one transaction, and returns when that is on disk.
func (s *Store) Save(put []session.Record, remove []string) (err error) {
	defer guard(&err)()
	return told(s.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucket)
		for i := range put {
			if err := b.Put([]byte(put[i].ID), encode(&put[i])); err != nil {
				return fmt.Errorf("a session of %d bytes: %w", len(put[i].State), err)
			}
		}
		for _, id := range remove {
			if err := b.Delete([]byte(id)); err != nil {
				return err
			}
		}
		return nil
	}))
}

// Each calls f with every record, until it returns false. State is valid only until f returns, and f must not call the
// store's Save, which may wait for the end of Each.
func (s *Store) Each(f func(session.Record) bool) (err error) {
	defer guard(&err)()
	stop := errors.New("enough")
	err = s.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucket).ForEach(func(k, v []byte) error {
			r, err := decode(k, v)
			if err == nil && !f(r) {
				err = stop
			}
			return err
		})
	})
	if err == stop {
		return nil
	}
	return told(err)
}

// Close closes the file, when what is under way has ended.
func (s *Store) Close() error { return s.db.Close() }

func told(err error) error {
	if errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
		return ErrClosed
	}
	return err
}

// Package boltstore provides a [session.Store] in a file. Sessions survive restarts and crashes.
//
//	store, err := boltstore.Open("/var/lib/shell/sessions.db")
//	if err != nil {
//		return err
//	}
//	sessions, err := session.New(session.Options[State]{Store: store}) // sessions.Close closes it
//
// The file is a bbolt database on a local disk; one process at a time can open it. It contains the
// ids of the sessions, which are secrets, so only its owner may have access. Each Save waits for
// the disk; the manager combines the changes of many sessions in one Save.
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

var (
	// ErrLocked is wrapped by the error of Open if the file is open, in another process or this
	// one.
	ErrLocked = errors.New("the session file is in use")
	// ErrCorrupt is wrapped by errors about a file that is damaged or not a session file.
	ErrCorrupt = errors.New("the session file is damaged or has another format")
)

var errClosed = errors.New("the session store is closed")

// lockTimeout is how long Open waits for another process to close the file.
const lockTimeout = time.Second

// store is a session.Store in a bbolt database.
type store struct {
	db *bbolt.DB
}

var bucket = []byte("sessions/1")

// Open opens the file at path. It waits up to 1 s for another process to close the file. If it does
// not exist it is created with mode 0600; its directory must exist. The error wraps ErrLocked,
// ErrCorrupt or the error of the file system. A file to which others have access is refused with
// fs.ErrPermission, and so is one that cannot be written.
func Open(path string) (session.Store, error) { return open(path, lockTimeout) }

func open(path string, timeout time.Duration) (session.Store, error) {
	if err := checkFile(path); err != nil {
		return nil, fmt.Errorf("session file %s: %w", path, err)
	}
	db, err := openDB(path, timeout)
	if err != nil {
		return nil, fmt.Errorf("session file %s: %w", path, err)
	}
	s := &store{db: db}
	if err := errors.Join(s.prepare(), syncDir(path)); err != nil {
		db.Close()
		return nil, fmt.Errorf("session file %s: %w", path, err)
	}
	return s, nil
}

// openDB opens the database. bbolt panics on some damaged files; the panic becomes an error.
func openDB(path string, timeout time.Duration) (db *bbolt.DB, err error) {
	defer recoverFaults(&err)()
	db, err = bbolt.Open(path, 0o600, &bbolt.Options{Timeout: timeout, FreelistType: bbolt.FreelistMapType})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("%w: %w", ErrLocked, err)
	case isCorruption(err):
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return db, err
}

// isCorruption reports whether err is bbolt's for a damaged or foreign file. bbolt has no error
// value for a file that is too short.
func isCorruption(err error) bool {
	var path *fs.PathError
	return err != nil && !errors.As(err, &path) && (errors.Is(err, bolterrors.ErrInvalid) ||
		errors.Is(err, bolterrors.ErrChecksum) || errors.Is(err, bolterrors.ErrVersionMismatch) || strings.HasPrefix(err.Error(), "file size too small"))
}

// recoverFaults converts panics to errors, including memory faults: the file is mapped, and reading
// a damaged or truncated one can fault. The caller defers the result.
func recoverFaults(err *error) func() {
	before := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(before)
		if p := recover(); p != nil {
			*err = fmt.Errorf("%w: %v", ErrCorrupt, p)
		}
	}
}

func (s *store) prepare() (err error) {
	defer recoverFaults(&err)()
	return s.db.Update(func(tx *bbolt.Tx) error {
		if info, err := os.Stat(s.db.Path()); err != nil {
			return err
		} else if info.Size() < tx.Size() { // otherwise found later, by a memory fault
			return fmt.Errorf("%w: the file has %d bytes, want %d", ErrCorrupt, info.Size(), tx.Size())
		}
		_, err := tx.CreateBucketIfNotExists(bucket)
		return err
	})
}

// Save writes and removes in one transaction.
func (s *store) Save(put []session.Record, remove []string) (err error) {
	defer recoverFaults(&err)()
	return translate(s.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucket)
		for i := range put {
			if err := b.Put([]byte(put[i].ID), encode(&put[i])); err != nil {
				return fmt.Errorf("session with a state of %d bytes: %w", len(put[i].State), err)
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

// Each calls f in a read transaction. f must not call Save, which may have to wait for its end.
func (s *store) Each(f func(session.Record) bool) (err error) {
	defer recoverFaults(&err)()
	errStop := errors.New("stop")
	err = s.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucket).ForEach(func(k, v []byte) error {
			r, err := decode(k, v)
			if err == nil && !f(r) {
				err = errStop
			}
			return err
		})
	})
	if err == errStop {
		return nil
	}
	return translate(err)
}

// Close waits for running transactions and closes the file.
func (s *store) Close() error { return s.db.Close() }

func translate(err error) error {
	if errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
		return errClosed
	}
	return err
}

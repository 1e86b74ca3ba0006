package netrules

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"goranch/conns"
	"goranch/internal/option"
	"goranch/internal/reload"
)

// maxFile is the size in bytes of the largest file that is read.
const maxFile = 64 << 20

// Options are the settings of a [File]. File and Networks are required; the zero value of each
// other field is its default.
type Options struct {
	// File is the path of the file, in the form that the package comment describes: up to 500,000
	// rules and 64 MiB. Replace it by a rename, so that no part of it is read while it is written.
	File string
	// Networks is the table whose rules of the origin are those of the file.
	Networks *conns.Networks
	// Origin is the Origin of these rules. "" is "file".
	Origin string
	// Interval is the interval at which Run checks the file. 0 is 10 s; negative never checks it.
	Interval time.Duration
	// Notify is called by Run, in its goroutine, when the file has changed: with nil if its rules
	// are in use, otherwise with the fault. Each fault is reported once. nil is none.
	Notify func(error)
}

// File is a file with rules. Its methods are safe for concurrent use. It has no goroutine of its
// own and need not be closed.
type File struct {
	opts  Options
	files reload.Files
}

// Open reads the file and puts its rules into the table. The error names the invalid lines, or is
// that of the file system; then the table is not changed. A file without rules is valid.
func Open(o Options) (*File, error) {
	var f option.Faults
	if o.File == "" {
		f.Bad("File", `""`, "paths of files with rules")
	}
	if o.Networks == nil {
		f.Bad("Networks", "nil", "tables of rules")
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	o.Origin = cmp.Or(o.Origin, "file")
	file := &File{opts: o}
	file.files.Read = file.read
	if _, err := file.Reload(); err != nil {
		return nil, err
	}
	return file, nil
}

// Reload checks the file now, for example on SIGHUP, and reports whether new rules are in use. The
// error is the fault of the file, even if it was reported before; the previous rules stay in use
// then. A missing file is a fault; an empty one removes the rules.
func (f *File) Reload() (changed bool, err error) { return f.files.Reload() }

// Run checks the file at each interval and reports changes to Notify, until ctx ends. It returns
// nil. Only one Run may be active.
func (f *File) Run(ctx context.Context) error {
	return f.files.Run(ctx, cmp.Or(f.opts.Interval, 10*time.Second), f.opts.Notify)
}

// read is the Read of reload.Files.
func (f *File) read() (sum [32]byte, use func() error) {
	b, err := reload.ReadFile(f.opts.File, maxFile, nil)
	h := sha256.New()
	fmt.Fprintf(h, "%d %v\n", len(b), err)
	h.Write(b)
	return [32]byte(h.Sum(nil)), func() error {
		var rules []conns.NetworkRule
		if err == nil {
			rules, err = Parse(b)
		}
		if err == nil {
			err = f.opts.Networks.Replace(f.opts.Origin, rules)
		}
		if err != nil {
			return fmt.Errorf("rules %q: %w", f.opts.File, err)
		}
		return nil
	}
}

package main

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"time"

	"goranch/ranch"
	"goranch/ranch/accesslog"
)

// accessLogFlags are the flags of the access log.
type accessLogFlags struct {
	AccessLog string `kind:"file" change:"restart" example:"\"/var/log/ranchd/access.log\"" placeholder:"FILE" help:"File to which a line of JSON is appended for each connection that has ended, or - for standard output. It is reopened on SIGHUP. Default: none."`
}

// accessLogFile checks the value of --access-log. The file itself need not exist.
func accessLogFile(s string) (string, error) {
	if s == "" || s == "-" {
		return s, nil
	}
	if !isDir(filepath.Dir(s)) {
		return "", errors.New("no such directory; allowed are files in a directory that exists, and - for standard output")
	}
	if isDir(s) {
		return "", errors.New("it is a directory; allowed are files, and - for standard output")
	}
	return s, nil
}

// openAccessLog opens the access log, if there is one. stop writes the lines that wait for at most
// a second.
func (d *daemon) openAccessLog(stdout io.Writer) (stop func(), err error) {
	o := accesslog.Options{Logger: d.log}
	switch file := d.config().AccessLog; file {
	case "":
		return func() {}, nil
	case "-":
		d.accessLog, err = accesslog.New(stdout, o)
	default:
		d.accessLog, err = accesslog.Open(file, o)
	}
	if err != nil {
		return nil, err
	}
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		d.accessLog.Close(ctx)
		if n := d.accessLog.Stats().Dropped; n > 0 {
			d.log.Warn("lines of the access log were lost", "lines", n)
		}
	}, nil
}

// reopenAccessLog opens the file of the access log again and logs the result.
func (d *daemon) reopenAccessLog() {
	file := d.config().AccessLog
	if d.accessLog == nil || file == "-" {
		return
	}
	if err := d.accessLog.Reopen(); err != nil {
		d.log.Error("opening the access log again failed; the previous file stays in use", "err", err)
		return
	}
	d.log.Info("access log opened again", "file", file)
}

// observer returns the observer of every listener.
func (d *daemon) observer() func(ranch.Event) {
	tls := observeTLS(d.log)
	if d.accessLog == nil {
		return tls
	}
	return func(e ranch.Event) {
		tls(e)
		d.accessLog.Observe(e)
	}
}

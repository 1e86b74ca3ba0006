package main

import (
	"io"
	"os"

	"golang.org/x/term"
)

// streams are the standard streams. A stream that is an *os.File may be a terminal.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// terminal returns the descriptor of a stream that is a terminal.
func terminal(stream any) (fd int, ok bool) {
	f, ok := stream.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0, false
	}
	return int(f.Fd()), true
}

// sizeOf returns a function that returns the size of a terminal, and nil if stream is not one.
func sizeOf(stream any) func() (columns, lines int) {
	fd, ok := terminal(stream)
	if !ok {
		return nil
	}
	return func() (int, int) {
		w, h, err := term.GetSize(fd)
		if err != nil || w <= 0 {
			return 80, 24
		}
		return w, h
	}
}

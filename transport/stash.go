package transport

// stash is what was read from the socket before TLS asked for it.
type stash struct {
	data []byte
	err  error // after data: what the read ended with
	on   bool  // answer errNotNow instead of reading the socket
}

// errNotNow says that the socket has nothing at present.
var errNotNow error = notNow{}

type notNow struct{}

func (notNow) Error() string   { return "nothing to read at present" }
func (notNow) Timeout() bool   { return false }
func (notNow) Temporary() bool { return true } // crypto/tls goes on after such an error

// Read is what TLS reads through. Plain payload does not come this way.
func (w *wire) Read(p []byte) (int, error) {
	s := &w.stash
	switch {
	case len(s.data) > 0:
		n := copy(p, s.data)
		s.data = s.data[n:]
		return n, nil
	case s.err != nil:
		err := s.err
		s.err = nil
		return 0, err
	case s.on:
		return 0, errNotNow
	}
	return w.Conn.Read(p)
}

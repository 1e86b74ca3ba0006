package conns

import (
	"unicode/utf8"

	"goranch/internal/engine"
	"goranch/internal/remoteip"
	"goranch/internal/termtext"
)

// maxHookText limits the text of an error of Settings.Admit, in bytes before it is escaped.
const maxHookText = 200

// hookError is an error of Settings.Admit. Its text may contain what a client chose, such as a name
// from the DNS.
type hookError struct {
	err  error
	text string
}

func newHookError(err error) *hookError {
	text := err.Error()
	if cut := maxHookText; len(text) > cut {
		for !utf8.RuneStart(text[cut]) && cut > maxHookText-utf8.UTFMax {
			cut--
		}
		text = text[:cut] + "…"
	}
	return &hookError{err, RefusedByHook.Error() + ": " + termtext.Line(text)}
}

func (e *hookError) Error() string   { return e.text }
func (e *hookError) Unwrap() []error { return []error{RefusedByHook, e.err} }

// callAdmit calls Settings.Admit with the address of the client. It runs within the time limit of
// the handshake, which closes the socket.
func (c *connection) callAdmit() error {
	admit := c.sup.settings.Load().Admit
	if admit == nil {
		return nil
	}
	addr := remoteip.AddrPort(c.conn.RemoteAddr())
	if !addr.IsValid() {
		return nil
	}
	if err := admit(addr); err != nil {
		return newHookError(err)
	}
	return nil
}

// plainHandshake reports whether the handshake needs neither a goroutine nor a time limit.
func (c *connection) plainHandshake() bool {
	return engine.Plain(c.conn.Transport()) && c.sup.settings.Load().Admit == nil
}

package protocol_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"goranch/conns"
	"goranch/protocol"
)

// base has HandleData only.
type base struct{}

func (base) HandleData(*protocol.Peer, []byte) protocol.Action { return protocol.Continue() }

type tickWithoutResult struct{ base }

func (tickWithoutResult) HandleTick(*protocol.Peer) {}

type messageWithoutPeer struct{ base }

func (messageWithoutPeer) HandleMessage(any) protocol.Action { return protocol.Continue() }

type timeOut struct{ base }

func (timeOut) HandleTimeOut(*protocol.Peer) protocol.Action { return protocol.Continue() }

type missingLetter struct{ base }

func (missingLetter) HandleMesage(*protocol.Peer, any) protocol.Action { return protocol.Continue() }

type additionalLetter struct{ base }

func (additionalLetter) HandleShutddown(*protocol.Peer) {}

type wrongLetter struct{ base }

func (wrongLetter) HandleLeafe(*protocol.Peer, error, []byte) {}

type exchangedLetters struct{ base }

func (exchangedLetters) HandleConnetc(*protocol.Peer) protocol.Action { return protocol.Continue() }

type pointerReceiver struct{ base }

func (*pointerReceiver) HandleClose(*protocol.Peer, error) {}

// valid has methods whose names are similar to callbacks, but which are not meant as callbacks.
type valid struct{ base }

func (valid) HandleEnd(*protocol.Peer, []byte)                {}
func (valid) HandleEnds(*protocol.Peer)                       {} // there is a HandleEnd
func (valid) HandleKick(string)                               {} // has no Peer
func (valid) HandleTicket(*protocol.Peer) protocol.Action     { return protocol.Continue() }
func (valid) HandleConnection(*protocol.Peer) protocol.Action { return protocol.Continue() }

// A method that is meant as an optional callback, but is not called, ends the connection with an
// error that says what is expected, also after Switch.
func TestMistypedCallbacks(t *testing.T) {
	for _, c := range []struct {
		h    protocol.Handler
		want string // "" if the handler is valid
	}{
		{tickWithoutResult{}, "protocol_test.tickWithoutResult: method HandleTick has the signature (*protocol.Peer); want HandleTick(*protocol.Peer) protocol.Action"},
		{messageWithoutPeer{}, "method HandleMessage has the signature (interface {}) protocol.Action; want HandleMessage(*protocol.Peer, interface {}) protocol.Action"},
		{&timeOut{}, "*protocol_test.timeOut: method HandleTimeOut is misspelled; want HandleTimeout(*protocol.Peer) protocol.Action"},
		{missingLetter{}, "method HandleMesage seems to be misspelled; want HandleMessage("},
		{additionalLetter{}, "method HandleShutddown seems to be misspelled; want HandleShutdown(*protocol.Peer)"},
		{wrongLetter{}, "method HandleLeafe seems to be misspelled; want HandleLeave(*protocol.Peer, error, []uint8)"},
		{exchangedLetters{}, "method HandleConnetc seems to be misspelled; want HandleConnect("},
		{pointerReceiver{}, "method HandleClose has a pointer receiver, and the handler is not a pointer; want HandleClose(*protocol.Peer, error)"},
		{&pointerReceiver{}, ""},
		{valid{}, ""},
		{&script{}, ""},
		{nil, "the handler is nil"},
	} {
		for name, newHandler := range map[string]func() protocol.Handler{
			"first":        func() protocol.Handler { return c.h },
			"after Switch": func() protocol.Handler { return switcher{c.h} },
		} {
			if c.h == nil && name != "first" {
				continue // TestBadActions
			}
			synctest.Test(t, func(t *testing.T) {
				s := newTestServer(t, newHandler, protocol.Options{})
				for range 2 { // the result for a type is cached
					nc := s.dial(t)
					io.WriteString(nc, "x")
					nc.(interface{ CloseWrite() error }).CloseWrite()
					e := <-s.ends
					var panicked *protocol.PanicError
					switch {
					case c.want == "" && e.Reason != conns.PeerClosed:
						t.Errorf("%T, %s: got end %v (%v), want %v", c.h, name, e.Reason, e.Err, conns.PeerClosed)
					case c.want != "" && (e.Reason != conns.Panicked || !errors.As(e.Err, &panicked) || !strings.Contains(e.Err.Error(), c.want)):
						t.Errorf("%T, %s: got end %v (%v), want a PanicError with %q", c.h, name, e.Reason, e.Err, c.want)
					}
				}
			})
		}
	}
}

// The callbacks of a handler with a mistyped method are not called.
func TestNoCallbackOfMistypedHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		h := &mistypedScript{script{
			connect: func(*protocol.Peer) protocol.Action { calls++; return protocol.Continue() },
			close:   func(*protocol.Peer, error) { calls++ },
		}}
		s := newTestServer(t, func() protocol.Handler { return h }, protocol.Options{})
		s.dial(t)
		if e := <-s.ends; e.Reason != conns.Panicked || calls != 0 {
			t.Errorf("got end %v and %d calls, want %v and none", e.Reason, calls, conns.Panicked)
		}
	})
}

type mistypedScript struct{ script }

func (*mistypedScript) HandleTimeout(*protocol.Peer) error { return nil }

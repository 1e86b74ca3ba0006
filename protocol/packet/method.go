package packet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// Call is a request that a method serves. Its context is [Peer.Context].
type Call struct {
	context.Context
	Peer   *Peer
	Method string
	// ID is the id of the request as the client wrote it; nil for a notification.
	ID json.RawMessage
}

// method is a registered function with the decoding of its params.
type method func(call *Call, params json.RawMessage) (any, error)

// validator is implemented by types of params that check their values.
type validator interface{ Validate() error }

// Register adds f to the methods of s under name, also while s serves. f runs in the goroutine of
// the connection that calls it. The package comment says how params are decoded.
//
// Register fails if f is nil or if name is empty, taken or reserved ("rpc." and what begins with
// it).
func Register[P, R any](s *Server, name string, f func(call *Call, params P) (R, error)) error {
	if f == nil {
		return fmt.Errorf("register method %q: the function is nil", name)
	}
	d := newDecoder(reflect.TypeFor[P](), s.opts.AllowUnknownFields)
	return s.register(name, func(call *Call, params json.RawMessage) (any, error) {
		var in P
		if err := d.decode(params, reflect.ValueOf(&in)); err != nil {
			return nil, newError(CodeInvalidParams, describe(err))
		}
		if v, ok := any(&in).(validator); ok {
			if err := v.Validate(); err != nil {
				return nil, newError(CodeInvalidParams, err.Error())
			}
		}
		return f(call, in)
	})
}

func (s *Server) register(name string, m method) error {
	switch {
	case name == "":
		return errors.New("register method: the name is empty")
	case strings.HasPrefix(name, "rpc."):
		return fmt.Errorf("register method %q: names that begin with rpc. are reserved", name)
	}
	if _, taken := s.methods.LoadOrStore(name, m); taken {
		return fmt.Errorf("register method %q: the name is taken", name)
	}
	return nil
}

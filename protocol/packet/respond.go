package packet

import "errors"

var errTooLong = newError(codeInternal, "the response does not fit in a frame")

// respond serves a frame and returns the response; nil if there is none.
func (s *Server) respond(p *Peer, frame []byte) []byte {
	requests, batch, fault := parse(frame, s.opts.MaxBatch)
	if fault != nil {
		return appendError(nil, null, fault)
	}
	if !batch {
		return s.appendResponse(nil, p, &requests[0])
	}
	var all []byte
	for i := range requests {
		before := len(all)
		all = s.appendResponse(append(all, ','), p, &requests[i])
		if len(all) == before+1 {
			all = all[:before] // a notification
		} else if len(all)+1 > s.opts.MaxFrame {
			all = appendError(append(all[:before], ','), requests[i].id, errTooLong)
		}
	}
	if len(all) == 0 {
		return nil
	}
	if len(all)+1 > s.opts.MaxFrame { // even errors do not fit if ids are long
		return appendError(nil, null, errTooLong)
	}
	all[0] = '['
	return append(all, ']')
}

// appendResponse serves a request and appends its response; nothing for a notification.
func (s *Server) appendResponse(dst []byte, p *Peer, r *request) []byte {
	if r.fault != nil {
		return appendError(dst, r.id, r.fault)
	}
	call := &Call{Context: p.Context(), Peer: p, Method: r.method, ID: r.id}
	result, fault := s.call(call, r)
	if r.id == nil {
		return dst
	}
	before := len(dst)
	if fault == nil {
		b, err := marshal(result)
		if err == nil {
			if dst = appendResult(dst, r.id, b); len(dst)-before <= s.opts.MaxFrame {
				return dst
			}
			fault = errTooLong
		} else {
			fault = s.internal(call, err)
		}
	}
	dst = appendError(dst[:before], r.id, fault)
	if len(dst)-before > s.opts.MaxFrame { // an error with a long id
		return appendError(dst[:before], null, errTooLong)
	}
	return dst
}

// call calls the method of a request.
func (s *Server) call(call *Call, r *request) (any, *Error) {
	m, ok := s.methods.Load(r.method)
	if !ok {
		return nil, newError(codeMethodNotFound, "")
	}
	result, err := m.(method)(call, r.params)
	if err == nil {
		return result, nil
	}
	var e *Error
	if errors.As(err, &e) {
		return nil, e
	}
	return nil, s.internal(call, err)
}

// internal reports err to OnError and returns the error that the client gets instead.
func (s *Server) internal(call *Call, err error) *Error {
	if s.opts.OnError != nil {
		s.opts.OnError(call, err)
	}
	if s.opts.ExposeErrors {
		return newError(codeInternal, err.Error())
	}
	return newError(codeInternal, "")
}

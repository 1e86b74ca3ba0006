package adminhttp

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"goranch/protocol/shell"
)

// streamType is the type of an answer in lines, each with output, an intermediate result, or the
// result or error that ends the answer.
const streamType = "application/x-ndjson"

// output receives what a command shows, in the goroutine of the command.
type output interface {
	Write(p []byte) (int, error)
	frame(v any) error
	begun() bool // a part of the answer was sent
	end(w http.ResponseWriter, result any, err error)
}

// collected holds output until the end of a command.
type collected struct {
	limit  int
	cancel context.CancelCauseFunc // of the command
	out    bytes.Buffer
	frames []json.RawMessage
	size   int
}

// add counts n bytes. Beyond the limit it cancels the command.
func (c *collected) add(n int) error {
	if c.size += n; c.size <= c.limit {
		return nil
	}
	err := &shell.Error{Code: shell.CodeUsage, Message: fmt.Sprintf("the output exceeds %d bytes: accept %s, which has no limit", c.limit, streamType)}
	c.cancel(err)
	return err
}

func (c *collected) Write(p []byte) (int, error) {
	if err := c.add(len(p)); err != nil {
		return 0, err
	}
	return c.out.Write(p)
}

func (c *collected) frame(v any) error {
	b, err := shell.MarshalResult(v)
	if err == nil {
		err = c.add(len(b))
	}
	if err == nil {
		c.frames = append(c.frames, b)
	}
	return err
}

func (c *collected) begun() bool { return false }

// end answers with the result, and with the members "out" and "frames" if there are any.
func (c *collected) end(w http.ResponseWriter, result any, err error) {
	if err != nil {
		refuse(w, statusOf(err), err)
		return
	}
	b, err := shell.MarshalResult(result)
	if err != nil {
		refuse(w, http.StatusInternalServerError, fmt.Errorf("the result cannot be encoded as JSON: %w", err))
		return
	}
	b = b[:len(b)-1] // the closing brace
	if c.out.Len() > 0 {
		b = appendMember(b, "out", strings.ToValidUTF8(c.out.String(), "\ufffd"))
	}
	if len(c.frames) > 0 {
		b = appendMember(b, "frames", c.frames)
	}
	writeBody(w, http.StatusOK, "application/json", append(b, "}\n"...))
}

func appendMember(b []byte, name string, v any) []byte {
	value, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings, and JSON that was encoded before
	}
	return append(append(b, `,"`+name+`":`...), value...)
}

// streamed writes each piece of output as a line at once.
type streamed struct {
	w       http.ResponseWriter
	rc      *http.ResponseController
	started bool
}

func (s *streamed) line(b []byte) error {
	if !s.started {
		s.started = true
		s.w.Header().Set("Content-Type", streamType)
		s.w.WriteHeader(http.StatusOK)
	}
	s.rc.SetWriteDeadline(time.Now().Add(writeTimeout))
	if _, err := s.w.Write(append(b, '\n')); err != nil {
		return err
	}
	return s.rc.Flush()
}

func (s *streamed) Write(p []byte) (int, error) {
	b, err := json.Marshal(map[string]string{"out": strings.ToValidUTF8(string(p), "\ufffd")})
	if err == nil {
		err = s.line(b)
	}
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

func (s *streamed) frame(v any) error {
	b, err := shell.MarshalResult(v)
	if err != nil {
		return err
	}
	return s.line(append([]byte(`{"frame":true,`), b[1:]...))
}

func (s *streamed) begun() bool { return s.started }

func (s *streamed) end(w http.ResponseWriter, result any, err error) {
	if err != nil && !s.started {
		refuse(w, statusOf(err), err)
		return
	}
	var b []byte
	if err == nil {
		b, err = shell.MarshalResult(result)
	}
	if err != nil {
		b, err = json.Marshal(newErrorAnswer(err))
	}
	if err == nil {
		s.line(b)
	}
}

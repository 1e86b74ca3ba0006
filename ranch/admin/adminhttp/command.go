package adminhttp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"goranch/protocol/shell"
)

// commandRequest is the body of a POST of a command.
type commandRequest struct {
	Args  []string             `json:"args"`
	Flags map[string]flagValue `json:"flags"`
	Value string               `json:"value"` // of commands with Raw
}

// flagValue is the value of a flag: a string, a number, or true or false for a switch.
type flagValue struct {
	text string
	off  bool // a switch that is false, as if it were not given
}

// UnmarshalJSON implements [json.Unmarshaler].
func (v *flagValue) UnmarshalJSON(b []byte) error {
	var s string
	switch {
	case string(b) == "true":
		*v = flagValue{text: "true"}
	case string(b) == "false":
		*v = flagValue{off: true}
	case b[0] == '"':
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		*v = flagValue{text: s}
	case b[0] == '-' || b[0] >= '0' && b[0] <= '9':
		*v = flagValue{text: string(b)}
	default:
		return errors.New("values of flags are strings, numbers, true and false")
	}
	return nil
}

func (c *commandRequest) flags() map[string]string {
	flags := map[string]string{}
	for name, v := range c.Flags {
		if !v.off {
			flags[name] = v.text
		}
	}
	return flags
}

// readBody decodes the JSON body of a request. If it returns false, it has answered with an error.
func (h *Handler) readBody(w http.ResponseWriter, r *request, v any) bool {
	rc := http.NewResponseController(w)
	b, err := io.ReadAll(r.Body)
	switch {
	case isTooLarge(err):
		refuseBody(w, rc, http.StatusRequestEntityTooLarge, fmt.Errorf("the body exceeds %d bytes", h.opts.MaxBody))
		return false
	case err != nil:
		refuseBody(w, rc, http.StatusRequestTimeout, fmt.Errorf("the body was not received: %w", err))
		return false
	}
	if len(bytes.TrimSpace(b)) == 0 {
		return true
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	err = d.Decode(v)
	if err == nil && d.More() {
		err = errors.New("data after the object")
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, shell.Usage("body: %s", strings.TrimPrefix(err.Error(), "json: ")))
		return false
	}
	return true
}

// post returns the handler of a command by POST.
func (h *Handler) post(c *shell.Command) func(http.ResponseWriter, *request) {
	return func(w http.ResponseWriter, r *request) {
		var body commandRequest
		if h.readBody(w, r, &body) {
			h.run(w, r, c, shell.Invocation{Args: body.Args, Flags: body.flags(), Value: body.Value})
		}
	}
}

// get returns the handler of a command by GET: its flags are in the query, and its arguments in
// "arg".
func (h *Handler) get(c *shell.Command) func(http.ResponseWriter, *request) {
	return func(w http.ResponseWriter, r *request) {
		query, err := url.ParseQuery(r.URL.RawQuery)
		inv := shell.Invocation{Args: query["arg"], Flags: map[string]string{}, Value: query.Get("value")}
		delete(query, "arg")
		if c.Raw {
			delete(query, "value")
		}
		for name, values := range query {
			if len(values) > 1 {
				err = errors.Join(err, fmt.Errorf("parameter %q is given %d times", name, len(values)))
			}
			value := values[0]
			if isSwitch(c, name) {
				if value == "" {
					value = "true"
				} else if on, err := strconv.ParseBool(value); err == nil {
					value = strconv.FormatBool(on)
				}
				if value == "false" {
					continue
				}
			}
			inv.Flags[name] = value
		}
		if err != nil {
			refuse(w, http.StatusBadRequest, shell.Usage("query: %v", err))
			return
		}
		h.run(w, r, c, inv)
	}
}

func isSwitch(c *shell.Command, name string) bool {
	for _, f := range c.Flags {
		if f.Name == name {
			return f.Value == ""
		}
	}
	return false
}

// run runs a command and answers with its result, at the end or, if the client accepts it, as a
// stream of lines.
func (h *Handler) run(w http.ResponseWriter, r *request, c *shell.Command, inv shell.Invocation) {
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	defer context.AfterFunc(h.ctx, func() { cancel(errShutdown) })()
	inv.User, inv.Remote, inv.Conn, inv.Audit = r.user, r.conn.RemoteAddr(), r.conn, h.opts.Audit
	rc := http.NewResponseController(w)
	rc.SetWriteDeadline(time.Time{})
	var out output
	if strings.Contains(r.Header.Get("Accept"), streamType) {
		out = &streamed{w: w, rc: rc}
	} else {
		out = &collected{limit: h.opts.MaxOutput, cancel: cancel}
	}
	inv.Out, inv.Frame = out, out.frame
	result, err := h.invoke(ctx, c, inv)
	rc.SetWriteDeadline(time.Now().Add(writeTimeout))
	if err != nil && statusOf(err) == http.StatusForbidden && r.token == "" && !out.begun() {
		refuseUnknown(w, err)
		return
	}
	out.end(w, result, err)
}

var errInternal = errors.New("internal error")

// invoke runs a command. A panic costs its own request only, and is logged with its stack.
func (h *Handler) invoke(ctx context.Context, c *shell.Command, inv shell.Invocation) (result any, err error) {
	defer func() {
		if v := recover(); v != nil {
			h.opts.Logger.Error("a command panicked", "command", c.Name, "user", inv.User.Name, "panic", v, "stack", string(debug.Stack()))
			result, err = nil, errInternal
		}
	}()
	return c.Invoke(ctx, inv)
}

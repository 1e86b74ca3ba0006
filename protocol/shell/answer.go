package shell

import (
	"strconv"
	"strings"

	"goranch/internal/termtext"
)

// appendID appends the beginning of a JSON line. The id 0 is a request of an earlier connection.
func appendID(b []byte, n int) []byte {
	return strconv.AppendInt(append(b, `{"id":`...), int64(n), 10)
}

// appendOut appends a line with output.
func appendOut(b []byte, n int, p []byte) []byte {
	return append(appendOutput(appendID(b, n), p), "}\n"...)
}

// appendResult appends an answer with a result.
func appendResult(b []byte, n int, v any) ([]byte, error) {
	start := len(b)
	b, err := appendValue(append(appendID(b, n), `,"result":`...), v)
	if err != nil {
		return b[:start], err
	}
	return append(appendShape(b, v), "}\n"...), nil
}

// appendError appends an answer with an error.
func appendError(b []byte, n int, e *Error) []byte {
	b = append(appendID(b, n), `,"error":{"message":`...)
	b = appendString(b, e.Message)
	if e.Suggestion != "" {
		b = appendString(append(b, `,"suggestion":`...), e.Suggestion)
	}
	if e.Code != "" {
		b = appendString(append(b, `,"code":`...), e.Code)
	}
	return append(b, "}}\n"...)
}

// appendTextError appends an error in text.
func appendTextError(b []byte, e *Error) []byte {
	for line := range strings.SplitSeq(strings.TrimRight(e.Error(), "\n"), "\n") {
		b = append(append(append(b, "error: "...), termtext.Line(line)...), '\n')
	}
	return b
}

// appendText appends a result in text. A width of 0 is no limit.
func appendText(b []byte, v any, width int) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return b, nil
	case string:
		b = append(b, v...)
	case *text:
		b = append(b, *v...)
	case Table:
		b = v.appendText(b, width)
	case Fields:
		b = v.appendText(b, width)
	case []string:
		for _, s := range v {
			b = append(append(b, termtext.Line(s)...), '\n')
		}
		return b, nil
	default:
		var err error
		if b, err = appendValue(b, v); err != nil {
			return b, err
		}
	}
	if len(b) > 0 && b[len(b)-1] != '\n' {
		b = append(b, '\n')
	}
	return b, nil
}

const prompt = "> "

// appendAnswer appends the answer to a command that has ended, in the format of the session after
// it.
func (r *runner) appendAnswer(b []byte, c *Call, fault *Error) []byte {
	s := &r.state
	if s.JSON {
		n := r.requestID(&c.req)
		if fault == nil {
			with, err := appendResult(b, n, c.result)
			if err == nil {
				return with
			}
			fault = &Error{Message: "the result cannot be encoded as JSON: " + err.Error()}
		}
		return appendError(b, n, fault)
	}
	if c.writer.midline {
		b = append(b, '\n')
	}
	if fault == nil {
		with, err := appendText(b, c.result, s.width())
		if err == nil {
			b = with
		} else {
			fault = &Error{Message: "the result cannot be displayed: " + err.Error()}
		}
	}
	if fault != nil {
		b = appendTextError(b, fault)
	}
	if s.Prompt {
		b = append(b, prompt...)
	}
	return b
}

// appendFrame appends an intermediate result.
func (r *runner) appendFrame(b []byte, req *request, v any) ([]byte, error) {
	if !r.state.JSON {
		return appendText(b, v, r.state.width())
	}
	b, err := appendValue(append(appendID(b, r.requestID(req)), `,"frame":true,"result":`...), v)
	if err != nil {
		return nil, err
	}
	return append(appendShape(b, v), "}\n"...), nil
}

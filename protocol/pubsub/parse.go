package pubsub

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"unicode"
	"unicode/utf8"

	"goranch/protocol"
)

// request is a client's request in JSON. Data and ID are parts of the frame.
type request struct {
	Action  string
	Data    []byte
	ID      []byte    // of publish and presence; repeated in the answer
	Key     string    // of publish: publish the message once within KeyWindow
	Last    bool      // of subscribe: send the last message, too
	History int       // of subscribe: send this many of the last messages, too
	Since   *Position // of subscribe: send the messages after it, too; nil: messages without offsets

	message    message // in Data
	messageErr error
	next       message // in a value with the key data that has not ended
	nextErr    error
}

// requests is a pool: a request that is scanned is on the heap.
var requests = sync.Pool{New: func() any { return new(request) }}

func (r *request) release() {
	*r = request{}
	requests.Put(r)
}

// parseRequest returns a request, to be released.
func parseRequest(frame []byte) (*request, error) {
	r := requests.Get().(*request)
	if err := scanObject(frame, r); err != nil {
		return r, fmt.Errorf("%w: the request is not a valid JSON object: %w", protocol.ErrBadInput, err)
	}
	if r.History < 0 {
		return r, fmt.Errorf("%w: negative history %d", protocol.ErrBadInput, r.History)
	}
	if r.Since != nil && (r.Last || r.History > 0) {
		return r, errNoPositions("last and history are allowed only without it")
	}
	return r, nil
}

// errIncomplete is the error of JSON whose end is missing.
var errIncomplete = errors.New("unexpected end of JSON input")

// scanObject scans b, which must be one JSON object with nothing but white space around it.
func scanObject(b []byte, m members) error {
	var s jsonScanner
	done, err := s.scan(b, m)
	if err == nil && !done {
		err = errIncomplete
	}
	if err != nil {
		return err
	}
	if rest := bytes.TrimLeft(b[s.pos:], " \t\r\n"); len(rest) > 0 {
		return unexpected(rest[0], "after top-level value")
	}
	return nil
}

func (r *request) member(outer, key, value []byte) error {
	null := value[0] == 'n'
	switch {
	case outer != nil:
		if r.nextErr == nil && foldsTo(outer, "data") {
			r.nextErr = r.next.member(nil, key, value)
		}
	case foldsTo(key, "data"):
		r.Data, r.message, r.messageErr = value, r.next, r.nextErr
		r.next, r.nextErr = message{}, nil
	case foldsTo(key, "id"):
		r.ID = value
	case null: // as if it were missing
	case foldsTo(key, "action"):
		if !isString(value) {
			return fmt.Errorf("unexpected %s as action", kindOf(value))
		}
		r.Action, _ = unquote(value[1 : len(value)-1])
	case foldsTo(key, "key"):
		return r.setKey(value)
	case foldsTo(key, "last"):
		if value[0] != 't' && value[0] != 'f' {
			return fmt.Errorf("unexpected %s as last", kindOf(value))
		}
		r.Last = value[0] == 't'
	case foldsTo(key, "history"):
		n, err := strconv.Atoi(string(value[:min(len(value), 32)]))
		if err != nil {
			return fmt.Errorf("unexpected %s as history", kindOf(value))
		}
		r.History = n
	case foldsTo(key, "since"):
		var err error
		if r.Since, err = parsePosition(value); err != nil {
			return err
		}
	}
	return nil
}

func (r *request) setKey(value []byte) error {
	if !isString(value) {
		return fmt.Errorf("unexpected %s as key", kindOf(value))
	}
	s, paired := unquote(value[1 : len(value)-1])
	if !paired || s == "" || len(s) > maxKey {
		return fmt.Errorf("a key must have 1 to %d bytes and no unpaired surrogate", maxKey)
	}
	r.Key = s
	return nil
}

// messageData returns the topic of the message in Data, and the message.
func (r *request) messageData() (topic string, text []byte, err error) {
	switch {
	case len(r.Data) == 0:
		return "", nil, messageError(errIncomplete)
	case r.Data[0] != '{':
		return "", nil, messageError(fmt.Errorf("unexpected %s", kindOf(r.Data)))
	case r.messageErr != nil:
		return "", nil, messageError(r.messageErr)
	case !r.message.hasTopic:
		return "", nil, messageError(errNoTopic)
	}
	return r.message.topic, r.Data, nil
}

// stringData returns Data, which must be a string without unpaired surrogates.
func (r *request) stringData() (string, error) {
	if !isString(r.Data) {
		return "", fmt.Errorf("%w: the data of %q must be a string", protocol.ErrBadInput, r.Action)
	}
	s, paired := unquote(r.Data[1 : len(r.Data)-1])
	if !paired {
		return "", fmt.Errorf("%w: the data of %q has an unpaired surrogate", protocol.ErrBadInput, r.Action)
	}
	return s, nil
}

// message is what the server reads of a published message.
type message struct {
	topic    string
	hasTopic bool
}

// member refuses a message whose topic a subscriber's JSON decoder may read differently than this
// server: one with several topic keys, or with a key such as "Topic". Otherwise a client could get
// a message for one topic authorized that subscribers take for another.
func (m *message) member(outer, key, value []byte) error {
	switch {
	case outer != nil:
		return nil
	case foldsTo(key, "timestamp"):
		return errTimestamp
	case !foldsTo(key, "topic"):
		return nil
	case m.hasTopic || string(key) != "topic" && !decodesTo(key, "topic"):
		return errTopicKey
	case value[0] == 'n':
		return errNoTopic
	case !isString(value):
		return fmt.Errorf("unexpected %s as topic", kindOf(value))
	}
	topic, paired := unquote(value[1 : len(value)-1])
	if !paired {
		return errSurrogate
	}
	m.topic, m.hasTopic = topic, true
	return nil
}

func decodesTo(key []byte, name string) bool {
	s, _ := unquote(key)
	return s == name
}

// Faults of messages that are valid JSON.
var (
	errTimestamp = errors.New("the message has a timestamp, which only the server may set")
	errTopicKey  = errors.New(`the message must have exactly one key "topic"`)
	errNoTopic   = errors.New("the message has no topic")
	errSurrogate = errors.New("the topic name has an unpaired surrogate")
)

// messageError returns the error for a message that the scanner has refused with err.
func messageError(err error) error {
	switch err {
	case errTimestamp, errTopicKey, errNoTopic, errSurrogate:
		return fmt.Errorf("%w: %w", protocol.ErrBadInput, err)
	}
	return fmt.Errorf("%w: the message is not a valid JSON object: %w", protocol.ErrBadInput, err)
}

// parseMessage returns the topic of a message, and the message without surrounding white space.
func parseMessage(b []byte) (topic string, text []byte, err error) {
	var m message
	if err := scanObject(b, &m); err != nil {
		return "", nil, messageError(err)
	}
	if !m.hasTopic {
		return "", nil, messageError(errNoTopic)
	}
	return m.topic, bytes.TrimSpace(b), nil
}

// checkTopic returns an error if name is not a valid topic or pattern.
func checkTopic(name string, maxLen int) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: empty topic name", protocol.ErrBadInput)
	case len(name) > maxLen:
		return fmt.Errorf("%w: topic name of %d bytes, the limit is %d", protocol.ErrBadInput, len(name), maxLen)
	case !utf8.ValidString(name):
		return fmt.Errorf("%w: topic name %q is not valid UTF-8", protocol.ErrBadInput, name)
	}
	for _, r := range name {
		if unicode.IsControl(r) {
			return fmt.Errorf("%w: topic name %q has the control character %U", protocol.ErrBadInput, name, r)
		}
	}
	return checkPattern(name)
}

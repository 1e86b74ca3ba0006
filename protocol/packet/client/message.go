package client

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"

	"goranch/protocol"
	"goranch/protocol/packet"
)

// message is a notification or a response of the server.
type message struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  *wireError      `json:"error"`
}

// wireError is a packet.Error whose data is not decoded.
type wireError struct {
	Code    int             `json:"code"`
	Message string          `json:"message"`
	Data    json.RawMessage `json:"data"`
}

func (e *wireError) err() *packet.Error {
	out := &packet.Error{Code: e.Code, Message: e.Message}
	if e.Data != nil {
		out.Data = e.Data
	}
	return out
}

// decode decodes the result of a call.
func (m *message) decode(method string, result any) error {
	if m.Error != nil {
		return m.Error.err()
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(m.Result, result); err != nil {
		return fmt.Errorf("result of %s: %w", method, err)
	}
	return nil
}

// encode encodes a request as a frame; a notification if id is nil.
func encode(codec protocol.LengthPrefix, id *uint64, method string, params any) ([]byte, error) {
	b, err := json.Marshal(struct {
		Version string  `json:"jsonrpc"`
		Method  string  `json:"method"`
		Params  any     `json:"params,omitempty"`
		ID      *uint64 `json:"id,omitempty"`
	}{"2.0", method, params, id})
	if err != nil {
		return nil, fmt.Errorf("params of %s: %w", method, err)
	}
	if b, err = codec.Append(nil, b); err != nil {
		return nil, fmt.Errorf("call of %s: %w", method, err)
	}
	return b, nil
}

// readFrame reads one frame within the limit of codec. The buffer of a large frame grows with the
// bytes that arrive, so that a length alone does not allocate memory.
func readFrame(r *bufio.Reader, codec protocol.LengthPrefix) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	if _, _, _, err := codec.Decode(length[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint32(length[:]))
	if n <= 64<<10 {
		b := make([]byte, n)
		_, err := io.ReadFull(r, b)
		return b, err
	}
	b, err := io.ReadAll(io.LimitReader(r, int64(n)))
	if err == nil && len(b) < n {
		err = io.ErrUnexpectedEOF
	}
	return b, err
}

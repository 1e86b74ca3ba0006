package packet

import (
	"errors"

	"goranch/protocol"
)

// codec is a LengthPrefix that decodes a frame over the limit as tooLarge. An error of Decode
// would end the connection before the handler could send the reason to the client.
type codec struct{ protocol.LengthPrefix }

// tooLarge is recognized by its address, so that no frame of a client is mistaken for it.
var tooLarge = []byte("frame too large")

// Decode discards all of buf when a frame is too large; the connection ends anyway.
func (c codec) Decode(buf []byte) (frame []byte, consumed, need int, err error) {
	frame, consumed, need, err = c.LengthPrefix.Decode(buf)
	if errors.Is(err, protocol.ErrFrameTooLarge) {
		return tooLarge, len(buf), 0, nil
	}
	return frame, consumed, need, err
}

func isTooLarge(frame []byte) bool { return len(frame) > 0 && &frame[0] == &tooLarge[0] }

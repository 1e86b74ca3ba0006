package protocol

import "fmt"

// MQTTPackets are the packets of MQTT 3.1.1 and 5: a byte with type and flags, the length of the
// rest as a varint of at most four bytes, and the rest. A frame is a whole packet, with its header.
//
// Packets whose first byte no version allows are refused: type 0, QoS 3, and reserved flags. Fields
// after the length are not examined. A length that uses more bytes than it needs is accepted, as
// brokers do, although MQTT 5 forbids it.
//
// Source: sections 2.1 and 1.5.5 of MQTT Version 5.0, OASIS Standard, 2019.
type MQTTPackets struct {
	// Max is the longest packet in bytes, with its header. 0 is 256 KiB; transport.NoLimit, or any
	// negative value, is what the length can express, 256 MiB.
	Max int
}

// Decode returns the first packet.
func (c MQTTPackets) Decode(buf []byte) (frame []byte, n, need int, err error) {
	if len(buf) == 0 {
		return nil, 0, 2, nil
	}
	if err := checkMQTTHeader(buf[0]); err != nil {
		return nil, 0, 0, err
	}
	length, size := 0, 1
	for more := true; more; size++ {
		switch {
		case size > 4:
			return nil, 0, 0, fmt.Errorf("%w: an MQTT length of more than 4 bytes", ErrBadInput)
		case size == len(buf):
			return nil, 0, size + 1, nil
		}
		length |= int(buf[size]&0x7f) << (7 * (size - 1))
		more = buf[size]&0x80 != 0
	}
	total := size + length
	if total > maxFrame(c.Max) {
		return nil, 0, 0, fmt.Errorf("%w: an MQTT packet of %d bytes, the limit is %d", ErrFrameTooLarge, total, maxFrame(c.Max))
	}
	if len(buf) < total {
		return nil, 0, total, nil
	}
	return buf[:total:total], total, 0, nil
}

// checkMQTTHeader examines the first byte of a packet.
func checkMQTTHeader(b byte) error {
	kind, flags := b>>4, b&0x0f
	want := byte(0)
	switch kind {
	case 0:
		return fmt.Errorf("%w: MQTT packet type 0", ErrBadInput)
	case 3: // PUBLISH: DUP, QoS of two bits, RETAIN
		if flags&0x06 == 0x06 {
			return fmt.Errorf("%w: an MQTT packet with QoS 3", ErrBadInput)
		}
		return nil
	case 6, 8, 10: // PUBREL, SUBSCRIBE, UNSUBSCRIBE
		want = 2
	}
	if flags != want {
		return fmt.Errorf("%w: flags %d of an MQTT packet of type %d, want %d", ErrBadInput, flags, kind, want)
	}
	return nil
}

// Append appends a packet, whose header must be that of its length.
func (c MQTTPackets) Append(dst, frame []byte) ([]byte, error) {
	_, n, _, err := c.Decode(frame)
	return appendWhole(dst, frame, n, err)
}

package main

import (
	"encoding/binary"
	"fmt"
)

// wireProtocol is how the generator's members and publisher exchange messages with a server that
// fans out.
type wireProtocol struct {
	join    []byte                      // the first bytes that a member sends
	welcome string                      // the last bytes of the answer that confirms the join
	hello   []byte                      // the first bytes that the publisher sends; no answer is awaited
	publish func(payload []byte) []byte // encodes one message for the server
	deliver func(payload []byte) []byte // encodes the same message as a member receives it
	last    byte                        // if not 0, the last byte of each message: messages are counted, not compared
	text    bool                        // payloads must be letters
}

// redisProtocol is the protocol of Redis with one channel.
var redisProtocol = wireProtocol{
	join:    []byte("*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\nb\r\n"),
	welcome: "*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:1\r\n",
	publish: func(p []byte) []byte {
		return fmt.Appendf(nil, "*3\r\n$7\r\nPUBLISH\r\n$1\r\nb\r\n$%d\r\n%s\r\n", len(p), p)
	},
	deliver: func(p []byte) []byte {
		return fmt.Appendf(nil, "*3\r\n$7\r\nmessage\r\n$1\r\nb\r\n$%d\r\n%s\r\n", len(p), p)
	},
}

// mqttProtocol is MQTT 3.1.1 with one topic and quality of service 0.
var mqttProtocol = wireProtocol{
	join:    []byte(mqttConnect + "\x82\x06\x00\x01\x00\x01b\x00"),
	welcome: "\x90\x03\x00\x01\x00",
	hello:   []byte(mqttConnect),
	publish: mqttPublish,
	deliver: mqttPublish,
}

const mqttConnect = "\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00"

func mqttPublish(p []byte) []byte {
	b := []byte{0x30}
	n := len(p) + 3
	for ; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(append(b, byte(n), 0, 1, 'b'), p...)
}

// janusProtocol is the protocol of hotwheels' Janus with one topic. Unlike the original's
// publishers, the publisher keeps its connection.
var janusProtocol = wireProtocol{
	join:    []byte("<regular-socket/>\x00{\"action\":\"subscribe\",\"data\":\"b\"}\x00"),
	welcome: "ACK\x01",
	publish: func(p []byte) []byte {
		return fmt.Appendf(nil, `{"action":"publish","data":{"topic":"b","event":"e","message_id":"","data":"%s"}}`+"\x00", p)
	},
	deliver: func(p []byte) []byte { return p }, // the server adds a timestamp, so the bytes are not compared
	last:    0x01,
	text:    true,
}

// joinFrame is the frame by which a connection becomes a member. The server answers it with the
// same frame and broadcasts all other frames.
const joinFrame = "join"

// frameProtocol is the protocol of servers of frames with a length prefix of four bytes.
var frameProtocol = wireProtocol{
	join:    frame([]byte(joinFrame)),
	welcome: string(frame([]byte(joinFrame))),
	publish: frame,
	deliver: frame,
}

// frame adds the length prefix: four bytes in network order.
func frame(payload []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(payload))), payload...)
}

// natsProtocol is the protocol of NATS with one subject.
var natsProtocol = wireProtocol{
	join:    []byte(natsConnect + "SUB b 1\r\nPING\r\n"),
	welcome: "PONG\r\n",
	hello:   []byte(natsConnect),
	publish: func(p []byte) []byte { return fmt.Appendf(nil, "PUB b %d\r\n%s\r\n", len(p), p) },
	deliver: func(p []byte) []byte { return fmt.Appendf(nil, "MSG b 1 %d\r\n%s\r\n", len(p), p) },
}

const natsConnect = `CONNECT {"verbose":false,"pedantic":false}` + "\r\n"

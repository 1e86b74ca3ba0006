package main

import (
	"encoding/binary"
	"fmt"
)

// dialect is what the generator says to a server that fans out, and what that says to its members.
type dialect struct {
	join    []byte                      // from a member, first of all
	welcome string                      // ends what a member has been answered, when it is one
	open    []byte                      // from the publisher, first of all; nothing waits for an answer
	publish func(payload []byte) []byte // one message, as the publisher sends it
	deliver func(payload []byte) []byte // the same, as a member gets it
	last    byte                        // 0: what arrives is compared; else messages are counted by the byte that ends them
	text    bool                        // payloads have to be letters
}

// redisDialect is the protocol of Redis, with one channel.
var redisDialect = dialect{
	join:    []byte("*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\nb\r\n"),
	welcome: "*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:1\r\n",
	publish: func(p []byte) []byte {
		return fmt.Appendf(nil, "*3\r\n$7\r\nPUBLISH\r\n$1\r\nb\r\n$%d\r\n%s\r\n", len(p), p)
	},
	deliver: func(p []byte) []byte {
		return fmt.Appendf(nil, "*3\r\n$7\r\nmessage\r\n$1\r\nb\r\n$%d\r\n%s\r\n", len(p), p)
	},
}

// mqttDialect is MQTT 3.1.1, with one topic, at most once.
var mqttDialect = dialect{
	join:    []byte(mqttConnect + "\x82\x06\x00\x01\x00\x01b\x00"),
	welcome: "\x90\x03\x00\x01\x00",
	open:    []byte(mqttConnect),
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

// janusDialect is that of hotwheels' Janus, with one topic; the publisher stays, as the original's does not.
var janusDialect = dialect{
	join:    []byte("<regular-socket/>\x00{\"action\":\"subscribe\",\"data\":\"b\"}\x00"),
	welcome: "ACK\x01",
	publish: func(p []byte) []byte {
		return fmt.Appendf(nil, `{"action":"publish","data":{"topic":"b","event":"e","message_id":"","data":"%s"}}`+"\x00", p)
	},
	deliver: func(p []byte) []byte { return p }, // with a timestamp before it
	last:    0x01,
	text:    true,
}

// joinFrame is a frame that makes its sender a member, and is answered by itself. All other frames are broadcast.
const joinFrame = "join"

// frameDialect is spoken by servers of frames with four bytes of length.
var frameDialect = dialect{
	join:    frame([]byte(joinFrame)),
	welcome: string(frame([]byte(joinFrame))),
	publish: frame,
	deliver: frame,
}

// frame puts the length before the payload, four bytes in network order.
func frame(payload []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(payload))), payload...)
}

// natsDialect is the protocol of NATS, with one subject.
var natsDialect = dialect{
	join:    []byte(natsConnect + "SUB b 1\r\nPING\r\n"),
	welcome: "PONG\r\n",
	open:    []byte(natsConnect),
	publish: func(p []byte) []byte { return fmt.Appendf(nil, "PUB b %d\r\n%s\r\n", len(p), p) },
	deliver: func(p []byte) []byte { return fmt.Appendf(nil, "MSG b 1 %d\r\n%s\r\n", len(p), p) },
}

const natsConnect = `CONNECT {"verbose":false,"pedantic":false}` + "\r\n"

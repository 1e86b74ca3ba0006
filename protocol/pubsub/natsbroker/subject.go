package natsbroker

import (
	"fmt"
	"strings"

	"goranch/protocol"
)

// maxSubject limits the length of an encoded topic. NATS limits the line of a message with all its
// subjects to 4 KiB.
const maxSubject = 1024

const hexDigits = "0123456789ABCDEF"

// appendTopic appends the subject of a topic, or of a pattern: the tokens between dots stay tokens.
// Letters, digits, - and _ stand for themselves, other bytes are = and two digits, and an empty
// token is =. The tokens * and, at the end, > are those of patterns, which mean the same in NATS.
// Different topics have different subjects.
func appendTopic(b []byte, topic string) ([]byte, error) {
	start := len(b)
	for rest, more := topic, true; more; {
		var token string
		token, rest, more = strings.Cut(rest, ".")
		switch {
		case token == "":
			b = append(b, '=')
		case token == "*" || token == ">" && !more:
			b = append(b, token...)
		default:
			b = appendToken(b, token)
		}
		if more {
			b = append(b, '.')
		}
		if len(b)-start > maxSubject {
			return nil, fmt.Errorf("%w: topic name of %d bytes: encoded for NATS it exceeds %d bytes",
				protocol.ErrBadInput, len(topic), maxSubject)
		}
	}
	return b, nil
}

func appendToken(b []byte, token string) []byte {
	for i := range min(len(token), maxSubject+1) {
		if c := token[i]; isPlain(c) {
			b = append(b, c)
		} else {
			b = append(b, '=', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return b
}

func isPlain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}

// topicOf returns the topic whose subject is s. It reports false if there is none.
func topicOf(s string) (topic string, ok bool) {
	if s == "" || len(s) > maxSubject {
		return "", false
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case isPlain(c) || c == '.' && i > 0 && s[i-1] != '.' && i < len(s)-1:
			b = append(b, c)
		case c != '=':
			return "", false
		case i == len(s)-1 || s[i+1] == '.':
			if i > 0 && s[i-1] != '.' {
				return "", false
			}
		case i+2 < len(s):
			hi, lo := strings.IndexByte(hexDigits, s[i+1]), strings.IndexByte(hexDigits, s[i+2])
			if hi < 0 || lo < 0 || isPlain(byte(hi<<4|lo)) || byte(hi<<4|lo) == '.' {
				return "", false
			}
			b = append(b, byte(hi<<4|lo))
			i += 2
		default:
			return "", false
		}
	}
	return string(b), true
}

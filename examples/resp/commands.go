package main

import (
	"bytes"
	"math"
	"strconv"
	"time"
)

// commands are the commands by name, with the least and greatest number of arguments, the name
// included. run appends the answer to b.
var commands = map[string]struct {
	min, max int
	run      func(s *store, b []byte, args [][]byte) []byte
}{
	"PING":     {1, 2, ping},
	"ECHO":     {2, 2, func(_ *store, b []byte, args [][]byte) []byte { return appendBulk(b, args[1]) }},
	"SET":      {3, 5, set},
	"GET":      {2, 2, func(s *store, b []byte, args [][]byte) []byte { return s.get(b, args[1]) }},
	"MSET":     {3, math.MaxInt, mset},
	"MGET":     {2, math.MaxInt, mget},
	"DEL":      {2, math.MaxInt, func(s *store, b []byte, args [][]byte) []byte { return count(b, args, s.del) }},
	"EXISTS":   {2, math.MaxInt, func(s *store, b []byte, args [][]byte) []byte { return count(b, args, s.has) }},
	"INCR":     {2, 2, func(s *store, b []byte, args [][]byte) []byte { return s.add(b, args[1], 1) }},
	"DECR":     {2, 2, func(s *store, b []byte, args [][]byte) []byte { return s.add(b, args[1], -1) }},
	"EXPIRE":   {3, 3, expire},
	"TTL":      {2, 2, func(s *store, b []byte, args [][]byte) []byte { return appendInt(b, s.ttl(args[1])) }},
	"DBSIZE":   {1, 1, func(s *store, b []byte, _ [][]byte) []byte { return appendInt(b, s.size()) }},
	"FLUSHALL": {1, 1, func(s *store, b []byte, _ [][]byte) []byte { s.flush(); return append(b, ok...) }},
	"CONFIG":   {2, math.MaxInt, config},
	"COMMAND":  {1, math.MaxInt, func(_ *store, b []byte, _ [][]byte) []byte { return append(b, "*0\r\n"...) }},
	"QUIT":     {1, 1, func(_ *store, b []byte, _ [][]byte) []byte { return append(b, ok...) }},
}

const (
	ok         = "+OK\r\n"
	nilBulk    = "$-1\r\n"
	outOfRange = "-ERR value is not an integer or out of range\r\n"
	badExpire  = "-ERR invalid expire time\r\n"
	syntax     = "-ERR syntax error\r\n"
	full       = "-OOM command not allowed when used memory > 'maxmemory'.\r\n"
)

// run appends the answer to a command to b. quit: it is the last one.
func (s *store) run(b []byte, args [][]byte) (answer []byte, quit bool) {
	var upper [16]byte
	name := upper[:copy(upper[:], args[0])]
	for i, c := range name {
		if c >= 'a' && c <= 'z' {
			name[i] = c - 'a' + 'A'
		}
	}
	c, known := commands[string(name)]
	switch {
	case !known || len(args[0]) > len(upper):
		return append(b, "-ERR unknown command\r\n"...), false
	case len(args) < c.min || len(args) > c.max:
		return append(b, "-ERR wrong number of arguments\r\n"...), false
	}
	return c.run(s, b, args), string(name) == "QUIT"
}

func appendInt(b []byte, n int64) []byte {
	return append(strconv.AppendInt(append(b, ':'), n, 10), "\r\n"...)
}

func appendBulk(b, value []byte) []byte {
	b = append(strconv.AppendInt(append(b, '$'), int64(len(value)), 10), "\r\n"...)
	return append(append(b, value...), "\r\n"...)
}

func appendArray(b []byte, n int) []byte {
	return append(strconv.AppendInt(append(b, '*'), int64(n), 10), "\r\n"...)
}

func ping(_ *store, b []byte, args [][]byte) []byte {
	if len(args) == 2 {
		return appendBulk(b, args[1])
	}
	return append(b, "+PONG\r\n"...)
}

// set is SET key value [EX seconds | PX milliseconds].
func set(s *store, b []byte, args [][]byte) []byte {
	var after time.Duration
	if len(args) > 3 {
		unit := time.Second
		switch {
		case len(args) == 5 && bytes.EqualFold(args[3], []byte("EX")):
		case len(args) == 5 && bytes.EqualFold(args[3], []byte("PX")):
			unit = time.Millisecond
		default:
			return append(b, syntax...)
		}
		n, ok := number(args[4])
		if after = time.Duration(n) * unit; !ok || n <= 0 || after/unit != time.Duration(n) {
			return append(b, badExpire...)
		}
	}
	if !s.set(args[1], args[2], after) {
		return append(b, full...)
	}
	return append(b, ok...)
}

func mset(s *store, b []byte, args [][]byte) []byte {
	if len(args)%2 == 0 {
		return append(b, "-ERR wrong number of arguments\r\n"...)
	}
	for i := 1; i < len(args); i += 2 {
		if !s.set(args[i], args[i+1], 0) {
			return append(b, full...)
		}
	}
	return append(b, ok...)
}

// maxAnswer limits the answer to MGET, in bytes: a client may name a long value many times.
const maxAnswer = 8 << 20

func mget(s *store, b []byte, args [][]byte) []byte {
	b = appendArray(b, len(args)-1)
	for _, key := range args[1:] {
		if b = s.get(b, key); len(b) > maxAnswer {
			return append(b[:0], "-ERR the answer is longer than 8 MiB\r\n"...)
		}
	}
	return b
}

// count answers for how many keys f is true.
func count(b []byte, args [][]byte, f func(key []byte) bool) []byte {
	n := int64(0)
	for _, key := range args[1:] {
		if f(key) {
			n++
		}
	}
	return appendInt(b, n)
}

func expire(s *store, b []byte, args [][]byte) []byte {
	n, ok := number(args[2])
	after := time.Duration(n) * time.Second
	if !ok || after/time.Second != time.Duration(n) {
		return append(b, badExpire...)
	}
	if s.expire(args[1], after) {
		return appendInt(b, 1)
	}
	return appendInt(b, 0)
}

// config answers CONFIG GET, which redis-benchmark sends, with the two settings that it asks for.
func config(_ *store, b []byte, args [][]byte) []byte {
	if len(args) != 3 || !bytes.EqualFold(args[1], []byte("GET")) {
		return append(b, syntax...)
	}
	switch string(args[2]) {
	case "save":
		return append(b, "*2\r\n$4\r\nsave\r\n$0\r\n\r\n"...)
	case "appendonly":
		return append(b, "*2\r\n$10\r\nappendonly\r\n$2\r\nno\r\n"...)
	}
	return appendArray(b, 0)
}

// number parses a decimal number.
func number(text []byte) (n int64, ok bool) {
	if len(text) > 20 {
		return 0, false
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	return n, err == nil
}

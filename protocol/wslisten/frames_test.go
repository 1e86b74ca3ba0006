package wslisten_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"goranch/conns"
	"goranch/protocol/wslisten"
	"goranch/ranch"
)

// What a client sends that violates RFC 6455 ends its connection at the first wrong byte, with the
// code of the RFC.
func TestViolations(t *testing.T) {
	for _, tt := range []struct {
		name, in string // the last byte is the wrong one
		code     int
	}{
		{"a frame without mask", "\x82\x01", 1002},
		{"reserved bits", "\xc1", 1002},
		{"an unknown opcode", "\x83", 1002},
		{"an unknown control opcode", "\x8b", 1002},
		{"a fragmented ping", "\x09", 1002},
		{"a long ping", "\x89\xfe", 1002},
		{"a continuation of nothing", "\x80", 1002},
		{"a message in a message", frame(0x01, "a") + "\x81", 1002},
		{"a length of 64 bits", "\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff", 1002},
		{"a length of 63 bits", "\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff", 1009},
		{"a short length in 2 bytes", "\x82\xfe\x00\x7d", 1002},
		{"a short length in 8 bytes", "\x82\xff\x00\x00\x00\x00\x00\x00\xff\xff", 1002},
		{"a long message", "\x82\xfe\x03\xe9", 1009},
		{"a long message in pieces", frame(0x02, strings.Repeat("x", 999)) + "\x80\x82", 1009},
		{"text that is not UTF-8", "\x81\x85\x00\x00\x00\x00ab\xff", 1007},
		{"a surrogate", "\x81\x85\x00\x00\x00\x00\xed\xa0", 1007},
		{"half a character", "\x81\x81\x00\x00\x00\x00\xc3", 1007},
		{"half a character in pieces", frame(0x01, "\xe2\x82") + "\x80\x81\x00\x00\x00\x00a", 1007},
		{"a close code of one byte", "\x88\x81\x00\x00\x00\x00\x03", 1002},
		{"close code 1005", "\x88\x82\x00\x00\x00\x00\x03\xed", 1002},
		{"a close reason that is not UTF-8", "\x88\x83\x00\x00\x00\x00\x03\xe8\xff", 1007},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t, wslisten.Options{MaxMessage: 1000}, ranch.Options{}, echo)
				c := s.dial(t)
				c.send(tt.in[:len(tt.in)-1])
				synctest.Wait()
				select {
				case e := <-s.ends:
					t.Fatalf("before the last byte: got end %v, %v, want none", e.Reason, e.Err)
				default:
				}
				c.send(tt.in[len(tt.in)-1:])
				for first := byte(0); first != closing; {
					b, err := c.in.Peek(1)
					if err != nil {
						t.Fatal(err)
					}
					if first = b[0]; first != closing {
						c.receive()
					}
				}
				if got, reason := c.closeCode(); got != tt.code || reason == "" {
					t.Errorf("got close code %d, %q, want %d and a reason", got, reason, tt.code)
				}
				if e := s.end(t); e.Reason != conns.BadInput {
					t.Errorf("got end %v (%v), want %v", e.Reason, e.Err, conns.BadInput)
				}
			})
		})
	}
}

// Messages are a stream, in however many pieces they arrive.
func TestStream(t *testing.T) {
	long := strings.Repeat("x", 70_000)
	in := frame(binaryFrame, "a") + frame(text, "ä") + frame(binaryFrame, "") + frame(0x01, "\xe2") + frame(ping, "p") + frame(0x00, "\x82") +
		frame(0x80, "\xac") + frame(binaryFrame, long[:300]) + frame(binaryFrame, long) + frame(pong, "ignored")
	want := "aä€" + long[:300] + long
	for _, piece := range []int{1, 2, 3, 7, 1000, len(in)} {
		if piece < 7 && testing.Short() {
			continue
		}
		synctest.Test(t, func(t *testing.T) {
			s := newServer(t, wslisten.Options{}, ranch.Options{}, echo)
			c := s.dial(t)
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				for b := in; len(b) > 0; b = b[min(piece, len(b)):] {
					c.send(b[:min(piece, len(b))])
				}
			}()
			var got strings.Builder
			pongs := 0
			for got.Len() < len(want) || pongs < 1 {
				switch first, payload := c.receive(); {
				case first == pong && payload == "p":
					pongs++
				case first == binaryFrame:
					got.WriteString(payload)
				default:
					t.Fatalf("got frame %#x %.100q, want messages and a pong", first, payload)
				}
			}
			if got.String() != want || pongs != 1 {
				t.Errorf("in pieces of %d: got %d bytes and %d pongs, want the %d sent and 1", piece, got.Len(), pongs, len(want))
			}
			<-sent
			c.send(frame(closing, code(1000)+"bye"))
			if got, _ := c.closeCode(); got != 1000 {
				t.Errorf("got close code %d, want 1000", got)
			}
			e := s.end(t)
			if st := e.Conn.Stats(); e.Reason != conns.Finished || st.BytesRead != uint64(len(want)) || st.BytesWritten != uint64(len(want)) {
				t.Errorf("got end %v (%v), %d bytes read and %d written, want %v and %d", e.Reason, e.Err, st.BytesRead, st.BytesWritten, conns.Finished, len(want))
			}
		})
	}
}

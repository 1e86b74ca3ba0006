// Package room provides a chat service on a [packet.Server]: clients join rooms and talk to each
// other. It demonstrates how methods, groups and the end of a connection work together; ranchd
// serves it.
//
//	method        params            result
//	room.join     {"room","name"}   {"members":n}; the others get room.joined {"room","name"}
//	room.say      {"room","text"}   {"delivered":n}; the others get room.said {"room","name","text"}
//	room.leave    {"room"}          true; the others get room.left {"room","name"}
//	room.members  {"room"}          the sorted names
//	echo          any               its params
//	time          none              the time by RFC 3339
//	stats         none              {"frames","bytes","idle_seconds","age_seconds"} of the connection
//
// A name is unique in its room. A client leaves its rooms when its connection ends. A room exists
// while it has members.
package room

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"goranch/internal/option"
	"goranch/protocol/packet"
)

// Codes of errors, in addition to those of JSON-RPC.
const (
	CodeTaken     = 1 // the name is taken, or the client is in the room by another name
	CodeNotMember = 2 // the client is not in the room
	CodeFull      = 3 // a limit of Options is reached; the data name it
)

// Options are limits. The zero value of each is its default; negative values are refused.
type Options struct {
	MaxRooms        int // rooms; 0 is 10,000
	MaxMembers      int // members of a room; 0 is 10,000
	MaxRoomsPerPeer int // rooms that one connection is in; 0 is 16
	MaxName         int // bytes of the name of a room or a member; 0 is 64
}

func (o Options) validate() error {
	var f option.Faults
	f.NotNegative("MaxRooms", o.MaxRooms, "0 for 10000")
	f.NotNegative("MaxMembers", o.MaxMembers, "0 for 10000")
	f.NotNegative("MaxRoomsPerPeer", o.MaxRoomsPerPeer, "0 for 16")
	f.NotNegative("MaxName", o.MaxName, "0 for 64")
	return f.Err()
}

func (o Options) withDefaults() Options {
	option.Default(&o.MaxRooms, 10_000)
	option.Default(&o.MaxMembers, 10_000)
	option.Default(&o.MaxRoomsPerPeer, 16)
	option.Default(&o.MaxName, 64)
	return o
}

// rooms are the rooms of one server.
type rooms struct {
	opts   Options
	server *packet.Server

	// mu is held while room.joined and room.left are sent, so that they have the order of the
	// changes. Sending does not wait for clients.
	mu     sync.Mutex
	byName map[string]*room
	names  map[*packet.Peer]map[string]string // room to the peer's name in it
}

type room struct {
	group *packet.Group
	names map[string]struct{}
}

// Register adds the methods to s. The error joins the faults of the options, or those of
// [packet.Register].
func Register(s *packet.Server, opts Options) error {
	if err := opts.validate(); err != nil {
		return err
	}
	r := &rooms{opts: opts.withDefaults(), server: s, byName: make(map[string]*room), names: make(map[*packet.Peer]map[string]string)}
	return errors.Join(
		packet.Register(s, "echo", echo), packet.Register(s, "time", now), packet.Register(s, "stats", stats),
		packet.Register(s, "room.join", r.join), packet.Register(s, "room.say", r.say),
		packet.Register(s, "room.leave", r.leave), packet.Register(s, "room.members", r.members))
}

func echo(_ *packet.Call, in json.RawMessage) (json.RawMessage, error) { return in, nil }

func now(*packet.Call, struct{}) (string, error) { return time.Now().Format(time.RFC3339), nil }

type statsResult struct {
	Frames uint64  `json:"frames"`
	Bytes  uint64  `json:"bytes"`
	Idle   float64 `json:"idle_seconds"` // since the frame before this one
	Age    float64 `json:"age_seconds"`
}

func stats(call *packet.Call, _ struct{}) (statsResult, error) {
	s := call.Peer.Stats()
	return statsResult{s.Frames, s.Bytes, s.Idle.Seconds(), s.Age.Seconds()}, nil
}

func errFull(limit string, n int) error {
	return &packet.Error{Code: CodeFull, Message: "limit reached", Data: fmt.Sprintf("%s: %d", limit, n)}
}

var errNotMember = &packet.Error{Code: CodeNotMember, Message: "not in the room"}

// Package room adds rooms to a [packet.Server], in which clients talk to each other. It serves ranchd,
// and shows how methods, groups and the end of a connection go together.
//
//	room.join    {"room","name"}  {"members":n}; the others get room.joined {"room","name"}
//	room.say     {"room","text"}  {"delivered":n}; every other gets room.said {"room","name","text"}
//	room.leave   {"room"}         true; the others get room.left {"room","name"}
//	room.members {"room"}         sorted names
//	echo         anything         the same
//	time         none             RFC 3339
//	stats        none             {"frames","bytes","idle_seconds","age_seconds"} of this connection
//
// A member whose connection ends has left, whatever has ended it. Names are unique in a room. A
// room is there while somebody is in it.
package room

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"goranch/protocol"
	"goranch/protocol/packet"
)

// Codes of errors, besides those of JSON-RPC.
const (
	CodeTaken     = 1 // somebody in the room has that name, or the client is there by another
	CodeNotMember = 2 // the client is not in the room
	CodeFull      = 3 // one of the limits of Options; the data say which
)

// Defaults of [Options].
const (
	DefaultMaxRooms      = 10_000
	DefaultMaxMembers    = 10_000
	DefaultMaxPerSession = 16
	DefaultMaxName       = 64
)

// Options are limits. 0 is the default of each; negative values are refused.
type Options struct {
	MaxRooms      int // rooms at once; 0 is 10,000
	MaxMembers    int // of a room; 0 is 10,000
	MaxPerSession int // rooms that one connection is in; 0 is 16
	MaxName       int // bytes of the name of a room or a member; 0 is 64
}

// Validate reports every field that cannot be used.
func (o Options) Validate() error {
	var faults []error
	for _, f := range []struct {
		name  string
		value int
	}{{"MaxRooms", o.MaxRooms}, {"MaxMembers", o.MaxMembers}, {"MaxPerSession", o.MaxPerSession}, {"MaxName", o.MaxName}} {
		if f.value < 0 {
			faults = append(faults, fmt.Errorf("option %s %d: allowed are positive numbers, and 0 for the default", f.name, f.value))
		}
	}
	return errors.Join(faults...)
}

func (o Options) withDefaults() Options {
	for _, f := range []struct {
		field *int
		value int
	}{{&o.MaxRooms, DefaultMaxRooms}, {&o.MaxMembers, DefaultMaxMembers}, {&o.MaxPerSession, DefaultMaxPerSession}, {&o.MaxName, DefaultMaxName}} {
		if *f.field == 0 {
			*f.field = f.value
		}
	}
	return o
}

// Rooms are those of one server.
type Rooms struct {
	opts   Options
	server *packet.Server

	// Announcements are made with mu held, so that they come in the order of what they announce. They
	// do not wait for members.
	mu      sync.Mutex
	rooms   map[string]*room
	members map[*packet.Session]map[string]string // their names, by room
}

type room struct {
	group *packet.Group
	names map[string]struct{}
}

// Params of methods and notifications.
type (
	Join struct {
		Room string `json:"room"`
		Name string `json:"name"`
	}
	Say struct {
		Room string `json:"room"`
		Text string `json:"text"`
	}
	In struct {
		Room string `json:"room"`
	}
	Said struct {
		Room string `json:"room"`
		Name string `json:"name"`
		Text string `json:"text"`
	}
)

// Results of methods.
type (
	Joined struct {
		Members int `json:"members"`
	}
	Delivered struct {
		Delivered int `json:"delivered"`
	}
	Stats struct {
		Frames uint64  `json:"frames"`       // that have come
		Bytes  uint64  `json:"bytes"`        // in these
		Idle   float64 `json:"idle_seconds"` // since the frame before this one
		Age    float64 `json:"age_seconds"`
	}
)

// Register adds the methods to s. The error joins the faults of the options, or is that of
// [packet.Register].
func Register(s *packet.Server, opts Options) (*Rooms, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	r := &Rooms{opts: opts.withDefaults(), server: s, rooms: make(map[string]*room), members: make(map[*packet.Session]map[string]string)}
	return r, errors.Join(
		packet.Register(s, "echo", echo), packet.Register(s, "time", now), packet.Register(s, "stats", stats),
		packet.Register(s, "room.join", r.join), packet.Register(s, "room.say", r.say),
		packet.Register(s, "room.leave", r.leave), packet.Register(s, "room.members", r.list))
}

func echo(_ *packet.Call, in packet.Raw) (packet.Raw, error) { return in, nil }

func now(*packet.Call, packet.None) (string, error) { return time.Now().Format(time.RFC3339), nil }

func stats(call *packet.Call, _ packet.None) (Stats, error) {
	s := call.Session
	return Stats{s.Frames(), s.Bytes(), s.Idle().Seconds(), s.Age().Seconds()}, nil
}

// check says whether a name can be used.
func (r *Rooms) check(what, name string) error {
	if name == "" || len(name) > r.opts.MaxName || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return packet.InvalidParams(fmt.Sprintf("%s: allowed are 1 to %d bytes without control characters", what, r.opts.MaxName))
	}
	return nil
}

func full(limit string, n int) error {
	return &packet.Error{Code: CodeFull, Message: "limit reached", Data: fmt.Sprintf("%s: %d", limit, n)}
}

func (r *Rooms) join(call *packet.Call, in Join) (Joined, error) {
	if err := errors.Join(r.check("room", in.Room), r.check("name", in.Name)); err != nil {
		return Joined{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	mine, known := r.members[call.Session]
	if name, in2 := mine[in.Room]; in2 {
		if name != in.Name {
			return Joined{}, &packet.Error{Code: CodeTaken, Message: "in the room by another name already", Data: name}
		}
		return Joined{r.rooms[in.Room].group.Count()}, nil
	}
	if err := r.room(in, len(mine)); err != nil {
		return Joined{}, err
	}
	to := r.rooms[in.Room]
	if to == nil {
		to = &room{group: r.server.NewGroup(), names: make(map[string]struct{})}
		r.rooms[in.Room] = to
	}
	if err := to.group.Join(call.Session); err != nil { // it has ended: nobody gets an answer, or can leave
		r.forget(in.Room)
		return Joined{}, err
	}
	to.names[in.Name] = struct{}{}
	if !known {
		mine = make(map[string]string)
		r.members[call.Session] = mine
		call.Session.AtEnd(func(error) { r.gone(call.Session) })
	}
	mine[in.Room] = in.Name
	to.group.NotifyExcept(call.Session, "room.joined", in)
	return Joined{len(to.names)}, nil
}

// room says whether somebody who is in so many rooms can join. r.mu is held.
func (r *Rooms) room(in Join, mine int) error {
	to := r.rooms[in.Room]
	if to == nil && len(r.rooms) >= r.opts.MaxRooms {
		return full("rooms", r.opts.MaxRooms)
	}
	if mine >= r.opts.MaxPerSession {
		return full("rooms of a connection", r.opts.MaxPerSession)
	}
	if to == nil {
		return nil
	}
	if _, taken := to.names[in.Name]; taken {
		return &packet.Error{Code: CodeTaken, Message: "the name is taken", Data: in.Name}
	}
	if len(to.names) >= r.opts.MaxMembers {
		return full("members of a room", r.opts.MaxMembers)
	}
	return nil
}

// forget drops a room if nobody is in it. r.mu is held.
func (r *Rooms) forget(name string) {
	if to := r.rooms[name]; to != nil && len(to.names) == 0 {
		delete(r.rooms, name)
	}
}

var errNotMember = &packet.Error{Code: CodeNotMember, Message: "not in the room"}

func (r *Rooms) say(call *packet.Call, in Say) (Delivered, error) {
	r.mu.Lock()
	name, is := r.members[call.Session][in.Room]
	to := r.rooms[in.Room]
	r.mu.Unlock()
	if !is {
		return Delivered{}, errNotMember
	}
	n, err := to.group.NotifyExcept(call.Session, "room.said", Said{in.Room, name, in.Text})
	if errors.Is(err, protocol.ErrFrameTooLarge) {
		return Delivered{}, packet.InvalidParams("text: too long for a frame")
	}
	return Delivered{n}, err
}

func (r *Rooms) leave(call *packet.Call, in In) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, is := r.members[call.Session][in.Room]; !is {
		return false, errNotMember
	}
	r.remove(call.Session, in.Room)
	return true, nil
}

// remove takes s out of a room that it is in, and tells the others. r.mu is held.
func (r *Rooms) remove(s *packet.Session, name string) {
	from, mine := r.rooms[name], r.members[s]
	member := mine[name]
	from.group.Leave(s) // or it has left with the end of the connection
	delete(from.names, member)
	delete(mine, name)
	r.forget(name)
	from.group.Notify("room.left", Join{name, member})
}

// gone is called when a connection has ended.
func (r *Rooms) gone(s *packet.Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name := range r.members[s] {
		r.remove(s, name)
	}
	delete(r.members, s)
}

func (r *Rooms) list(_ *packet.Call, in In) ([]string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	names := []string{}
	if of := r.rooms[in.Room]; of != nil {
		for name := range of.names {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

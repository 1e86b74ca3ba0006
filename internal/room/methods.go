package room

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"goranch/protocol"
	"goranch/protocol/packet"
)

// Params of methods and notifications.
type (
	joinParams struct {
		Room string `json:"room"`
		Name string `json:"name"`
	}
	sayParams struct {
		Room string `json:"room"`
		Text string `json:"text"`
	}
	roomParams struct {
		Room string `json:"room"`
	}
	saidParams struct {
		Room string `json:"room"`
		Name string `json:"name"`
		Text string `json:"text"`
	}
)

// Results of methods.
type (
	joinResult struct {
		Members int `json:"members"`
	}
	sayResult struct {
		Delivered int `json:"delivered"`
	}
)

func (r *rooms) join(call *packet.Call, in joinParams) (joinResult, error) {
	if err := errors.Join(r.checkName("room", in.Room), r.checkName("name", in.Name)); err != nil {
		return joinResult{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	mine, known := r.names[call.Peer]
	if name, joined := mine[in.Room]; joined {
		if name != in.Name {
			return joinResult{}, &packet.Error{Code: CodeTaken, Message: "in the room by another name already", Data: name}
		}
		return joinResult{r.byName[in.Room].group.Count()}, nil
	}
	if err := r.checkLimits(in, len(mine)); err != nil {
		return joinResult{}, err
	}
	to := r.byName[in.Room]
	if to == nil {
		to = &room{group: r.server.NewGroup(), names: make(map[string]struct{})}
		r.byName[in.Room] = to
	}
	if err := to.group.Join(call.Peer); err != nil { // the connection has ended and gets no response
		r.dropEmpty(in.Room)
		return joinResult{}, err
	}
	to.names[in.Name] = struct{}{}
	if !known {
		mine = make(map[string]string)
		r.names[call.Peer] = mine
		call.Peer.AtEnd(func(error) { r.removeAll(call.Peer) })
	}
	mine[in.Room] = in.Name
	to.group.NotifyExcept(call.Peer, "room.joined", in)
	return joinResult{len(to.names)}, nil
}

// checkName returns an error if the name of a room or a member is not allowed.
func (r *rooms) checkName(param, name string) error {
	if name == "" || len(name) > r.opts.MaxName || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return &packet.Error{Code: packet.CodeInvalidParams,
			Data: fmt.Sprintf("%s: allowed are 1 to %d bytes without control characters", param, r.opts.MaxName)}
	}
	return nil
}

// checkLimits returns an error if a client that is in joined rooms cannot join. r.mu is held.
func (r *rooms) checkLimits(in joinParams, joined int) error {
	to := r.byName[in.Room]
	if to == nil && len(r.byName) >= r.opts.MaxRooms {
		return errFull("rooms", r.opts.MaxRooms)
	}
	if joined >= r.opts.MaxRoomsPerPeer {
		return errFull("rooms of a connection", r.opts.MaxRoomsPerPeer)
	}
	if to == nil {
		return nil
	}
	if _, taken := to.names[in.Name]; taken {
		return &packet.Error{Code: CodeTaken, Message: "the name is taken", Data: in.Name}
	}
	if len(to.names) >= r.opts.MaxMembers {
		return errFull("members of a room", r.opts.MaxMembers)
	}
	return nil
}

// dropEmpty removes a room without members. r.mu is held.
func (r *rooms) dropEmpty(name string) {
	if to := r.byName[name]; to != nil && len(to.names) == 0 {
		delete(r.byName, name)
	}
}

func (r *rooms) say(call *packet.Call, in sayParams) (sayResult, error) {
	r.mu.Lock()
	name, joined := r.names[call.Peer][in.Room]
	to := r.byName[in.Room]
	r.mu.Unlock()
	if !joined {
		return sayResult{}, errNotMember
	}
	n, err := to.group.NotifyExcept(call.Peer, "room.said", saidParams{in.Room, name, in.Text})
	if errors.Is(err, protocol.ErrFrameTooLarge) {
		return sayResult{}, &packet.Error{Code: packet.CodeInvalidParams, Data: "text: too long for a frame"}
	}
	return sayResult{n}, err
}

func (r *rooms) leave(call *packet.Call, in roomParams) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, joined := r.names[call.Peer][in.Room]; !joined {
		return false, errNotMember
	}
	r.remove(call.Peer, in.Room)
	return true, nil
}

// remove removes p from a room that it is in and notifies the other members. r.mu is held.
func (r *rooms) remove(p *packet.Peer, name string) {
	from, mine := r.byName[name], r.names[p]
	member := mine[name]
	from.group.Leave(p) // fails if the connection has ended, as p has left its groups then
	delete(from.names, member)
	delete(mine, name)
	r.dropEmpty(name)
	from.group.Notify("room.left", joinParams{name, member})
}

// removeAll removes p, whose connection has ended, from its rooms.
func (r *rooms) removeAll(p *packet.Peer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name := range r.names[p] {
		r.remove(p, name)
	}
	delete(r.names, p)
}

func (r *rooms) members(_ *packet.Call, in roomParams) ([]string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	names := []string{}
	if of := r.byName[in.Room]; of != nil {
		for name := range of.names {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

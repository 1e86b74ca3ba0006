package main

import "goranch/protocol"

func init() {
	group := &protocol.Group{Codec: protocol.LengthPrefix{}}
	register(engine{
		name: "goranch-group", about: "this library with handlers in a group",
		tls: true, limit: true, fanout: &frameProtocol,
		start: startGoranch(protocol.Handle(
			func() protocol.Handler { return groupMember{group} },
			protocol.Options{Codec: protocol.LengthPrefix{}},
		)),
	})
}

// groupMember joins the group when it receives a join frame, and broadcasts all other frames.
type groupMember struct{ group *protocol.Group }

func (m groupMember) HandleData(p *protocol.Peer, frame []byte) protocol.Action {
	if string(frame) != joinFrame {
		if _, err := m.group.Broadcast(frame, nil); err != nil {
			return protocol.Fail(err)
		}
		return protocol.Continue()
	}
	if err := m.group.Join(p); err != nil {
		return protocol.Fail(err)
	}
	if err := p.Send(frame); err != nil {
		return protocol.Fail(err)
	}
	return protocol.Continue()
}

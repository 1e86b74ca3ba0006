package packet_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"

	"goranch/protocol/packet"
	"goranch/protocol/packet/client"
	"goranch/ranch"
	"goranch/transport"
)

// player is the state of a connection.
type player struct{ score int }

// A game that notifies all players of a score.
func Example() {
	s, err := packet.NewServer(packet.Options{
		OnConnect: func(p *packet.Peer) error { p.State = new(player); return nil },
		OnEnd:     func(p *packet.Peer, _ error) { fmt.Println("saved:", p.State.(*player).score) },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	err = packet.Register(s, "score", func(call *packet.Call, in struct{ Points int }) (int, error) {
		if in.Points < 0 {
			return 0, &packet.Error{Code: packet.CodeInvalidParams, Data: "points: allowed are positive numbers"}
		}
		p := call.Peer.State.(*player)
		p.score += in.Points
		s.All().Notify("best", p.score)
		return p.score, nil
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	mem := new(transport.Mem) // a server outside tests uses transport.TCP{}
	l, err := ranch.StartListener("game", mem, ranch.Options{Addr: "game", Logger: slog.New(slog.DiscardHandler)}, s)
	if err != nil {
		fmt.Println(err)
		return
	}
	best := make(chan string, 1)
	c, err := client.Dial(context.Background(), client.Options{Transport: mem, Addr: "game",
		OnNotification: func(method string, params json.RawMessage) { best <- method + " " + string(params) }})
	if err != nil {
		fmt.Println(err)
		return
	}
	var score int
	err = c.Call(context.Background(), "score", map[string]int{"points": 7}, &score)
	fmt.Println(score, err)
	fmt.Println(<-best)
	fmt.Println(c.Call(context.Background(), "score", []int{-1}, nil))
	c.Close()
	l.Stop()
	// Output:
	// 7 <nil>
	// best 7
	// Invalid params (-32602): "points: allowed are positive numbers"
	// saved: 7
}

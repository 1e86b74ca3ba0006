package ranch_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/netip"
	"time"

	"goranch/conns"
	"goranch/protocol/echo"
	"goranch/ranch"
	"goranch/transport"
)

// Limits that several listeners share: one value counts their connections together.
func ExampleOptions_shared() {
	logger := slog.New(slog.DiscardHandler)
	tcp, mem := transport.TCP{}, new(transport.Mem)

	shared, err := conns.NewShared(conns.SharedLimits{MaxConnections: 2, PerAddress: 1})
	if err != nil {
		log.Fatal(err)
	}
	game, err := ranch.StartListener("game", tcp, ranch.Options{Addr: "127.0.0.1:0", Shared: shared, Logger: logger}, echo.Protocol{})
	if err != nil {
		log.Fatal(err)
	}
	local, err := ranch.StartListener("game-local", mem, ranch.Options{Addr: "game", Shared: shared, Logger: logger}, echo.Protocol{})
	if err != nil {
		log.Fatal(err)
	}

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	first, err := tcp.Dial(ctx, game.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	second, err := mem.Dial(ctx, "game")
	if err != nil {
		log.Fatal(err)
	}
	game.WaitForConnections(ctx, ranch.Equal, 1)
	local.WaitForConnections(ctx, ranch.Equal, 1)
	state := shared.State()
	fmt.Println(state.Used, "of", state.Limit)
	first.Close()
	second.Close()
	ranch.Drain(ctx, "game", "game-local")
	// Output: 2 of 2
}

// A hook that decides about clients by their address.
func ExampleOptions_admit() {
	admit := func(addr netip.AddrPort) error {
		if country(addr.Addr()) == "XX" {
			return errors.New("no service in country XX")
		}
		return nil
	}
	tcp, ended := transport.TCP{}, make(chan ranch.Event, 1)
	l, err := ranch.StartListener("regional", tcp, ranch.Options{
		Addr: "127.0.0.1:0", Admit: admit, Logger: slog.New(slog.DiscardHandler),
		Observer: func(e ranch.Event) {
			if e.Kind == ranch.ConnEnded {
				ended <- e
			}
		},
	}, echo.Protocol{})
	if err != nil {
		log.Fatal(err)
	}
	defer ranch.StopListener("regional")

	nc, err := tcp.Dial(context.Background(), l.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()
	io.Copy(io.Discard, nc)
	e := <-ended
	fmt.Println(e.Err)
	fmt.Println(errors.Is(e.Err, conns.RefusedByHook))
	// Output:
	// refused by the admission hook: no service in country XX
	// true
}

// country stands for a look-up in a database.
func country(addr netip.Addr) string {
	if addr.IsLoopback() {
		return "XX"
	}
	return ""
}

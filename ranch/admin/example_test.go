package admin_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"time"

	"goranch/conns"
	"goranch/protocol/echo"
	"goranch/protocol/shell"
	"goranch/ranch"
	"goranch/ranch/admin"
	"goranch/transport"
)

func Example() {
	server, mem := new(ranch.Server), new(transport.Mem)
	discard := slog.New(slog.DiscardHandler)
	s, err := shell.New(shell.Options{
		Commands: admin.Commands(admin.Options{Server: server, Version: "v1.2.3"}),
		Audit:    admin.Audit(discard),
		Authenticate: func(context.Context, *transport.Conn) (shell.User, error) { // package access has others
			return shell.User{Name: "alice", Role: shell.Operator}, nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close(context.Background())
	for name, p := range map[string]interface {
		Serve(context.Context, *transport.Conn) error
	}{"echo": echo.Protocol{}, "admin": s} {
		if _, err := server.StartListener(name, mem, ranch.Options{Addr: name, Logger: discard}, p); err != nil {
			log.Fatal(err)
		}
	}
	defer server.Drain(context.Background())

	operator, err := mem.Dial(context.Background(), "admin")
	if err != nil {
		log.Fatal(err)
	}
	defer operator.Close()
	in := bufio.NewReader(operator)
	in.ReadString('\n') // the session id
	io.WriteString(operator, "cap echo 500\nsuspend all\nlimit ehco idle-timeout=5m\nquit\n")
	answers, _ := io.ReadAll(in)
	fmt.Print(string(answers))
	// Output:
	// Listener            echo
	// Cap                 500
	// Previous cap        1024
	// Active connections  0
	// LISTENER  STATUS     ADDRESS
	// echo      suspended  echo
	// error: no listener "ehco"; listeners: admin, echo; did you mean echo?
	// bye
}

func ExampleParseFilter() {
	match, err := admin.ParseFilter("listener=echo peer=10.0.0.0/8 and idle>30s")
	if err != nil {
		log.Fatal(err)
	}
	idle := conns.Info{RemoteAddr: &net.TCPAddr{IP: net.IPv4(10, 1, 2, 3), Port: 5555}, Idle: time.Minute}
	fmt.Println(match("echo", &idle), match("chat", &idle))
	_, err = admin.ParseFilter("idel>30s")
	fmt.Println(err)
	// Output:
	// true false
	// filter term "idel>30s": no field "idel" of live connections: allowed are id, listener, peer, transport, protocol, user, client, state, tls, sni, alpn, counted, age, idle, read, written, bytes and label.KEY; did you mean idle?
}

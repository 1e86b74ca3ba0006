package access_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"

	"goranch/protocol/shell"
	"goranch/protocol/shell/access"
	"goranch/transport"
)

// A generated token authenticates a client once its line is in the file.
func Example() {
	dir, err := os.MkdirTemp("", "access")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "tokens")

	token, line, err := access.GenerateToken(shell.Operator, "deploy")
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(line+"\n"), 0o600); err != nil {
		log.Fatal(err)
	}

	tokens, err := access.OpenTokens(access.TokenOptions{
		File: file,
		Notify: func(err error) {
			if err != nil {
				log.Print("the previous tokens stay in use: ", err)
			}
		},
	})
	if err != nil {
		log.Fatal(err) // names every invalid line
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- tokens.Run(ctx) }()

	client := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 40000}
	user, err := tokens.Check(client, token)
	fmt.Println(user.Name, user.Role == shell.Operator, err)
	for range 7 {
		_, err = tokens.Check(client, "a guess")
	}
	fmt.Println(err)

	cancel()
	<-done
	// Output:
	// token deploy true <nil>
	// too many failed attempts: try again in 1s
}

// Local users are identified by the kernel; other clients are Guests, who can present a token.
func ExampleCombine() {
	peer, err := access.Peer(access.Rules{Viewers: []string{"group:0"}})
	if err != nil {
		log.Fatal(err) // names every unknown user and group
	}
	authenticate := access.Combine(peer, access.Anyone(shell.Guest))

	ctx, tr := context.Background(), new(transport.Mem)
	ln, err := tr.Listen(ctx, "shell")
	if err != nil {
		log.Fatal(err)
	}
	defer ln.Close()
	client, err := tr.Dial(ctx, "shell")
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	nc, err := ln.Accept()
	if err != nil {
		log.Fatal(err)
	}
	conn := transport.NewConn(tr, nc)
	defer conn.Close()

	user, err := authenticate(ctx, conn)
	fmt.Println(user.Name, user.Role == shell.Guest, err)
	// Output: mem:client-1 true <nil>
}

func ExampleCheckListen() {
	fmt.Println(access.CheckListen("tcp", "127.0.0.1:8080", access.Listen{}))
	fmt.Println(access.CheckListen("tcp", "0.0.0.0:8080", access.Listen{Tokens: true}))
	fmt.Println(access.CheckListen("tcp", "0.0.0.0:8080", access.Listen{Tokens: true, Secure: true}))
	// Output:
	// <nil>
	// listen on "0.0.0.0:8080": unauthenticated access to the shell: tokens would be sent unencrypted; use TLS, or listen on a loopback address or a Unix socket, or set PlainTokens to accept it
	// <nil>
}

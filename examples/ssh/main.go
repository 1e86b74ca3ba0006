// Command ssh runs a server of golang.org/x/crypto/ssh behind the connection cap of a listener. The
// server answers a command with the text of the command. The program exits after one client has
// received an answer.
package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"log"
	"net"
	"time"

	"golang.org/x/crypto/ssh"

	"goranch/protocol/netlisten"
	"goranch/ranch"
	"goranch/transport"
)

func main() {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		log.Fatal(err)
	}
	config := &ssh.ServerConfig{PasswordCallback: func(_ ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
		if string(password) != "open sesame" {
			return nil, fmt.Errorf("wrong password")
		}
		return nil, nil
	}}
	config.AddHostKey(signer)

	nl := netlisten.New(netlisten.Options{}) // no Stop: each connection ends after its session
	l, err := ranch.StartListener("ssh", transport.TCP{}, ranch.Options{Addr: "127.0.0.1:0", MaxConnections: 20, PostListen: nl.PostListen}, nl)
	if err != nil {
		log.Fatal(err)
	}
	go accept(nl, config)

	client, err := ssh.Dial("tcp", nl.Addr().String(), &ssh.ClientConfig{
		User: "guest", Auth: []ssh.AuthMethod{ssh.Password("open sesame")},
		HostKeyCallback: ssh.FixedHostKey(signer.PublicKey()), Timeout: 10 * time.Second,
	})
	if err != nil {
		log.Fatal(err)
	}
	session, err := client.NewSession()
	if err != nil {
		log.Fatal(err)
	}
	out, err := session.Output("uptime")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("answer: %q; accepted connections: %d\n", out, l.Info().Accepted)
	client.Close()
	limit, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := ranch.Drain(limit); err != nil {
		log.Fatal(err)
	}
	nl.Close()
	fmt.Println("drained")
}

func accept(ln net.Listener, config *ssh.ServerConfig) {
	for {
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		go serve(nc, config)
	}
}

// serve serves the first session of a connection.
func serve(nc net.Conn, config *ssh.ServerConfig) {
	defer nc.Close() // returns the connection's slot
	nc.SetDeadline(time.Now().Add(10 * time.Second))
	conn, channels, requests, err := ssh.NewServerConn(nc, config)
	if err != nil {
		log.Print(err)
		return
	}
	defer conn.Close()
	go ssh.DiscardRequests(requests)
	for c := range channels {
		if c.ChannelType() != "session" {
			c.Reject(ssh.UnknownChannelType, "only sessions are supported")
			continue
		}
		channel, requests, err := c.Accept()
		if err != nil {
			log.Print(err)
			return
		}
		for r := range requests {
			if r.Type != "exec" {
				r.Reply(false, nil)
				continue
			}
			var command struct{ Text string }
			if err := ssh.Unmarshal(r.Payload, &command); err != nil {
				r.Reply(false, nil)
				continue
			}
			r.Reply(true, nil)
			fmt.Fprintf(channel, "received %s", command.Text)
			channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{0}))
			channel.Close()
		}
		conn.Wait() // until the client disconnects
		return
	}
}

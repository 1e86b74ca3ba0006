package main

import (
	"log"

	"goranch/protocol/echo"
	"goranch/ranch"
	"goranch/transport"
)

func main() {
	opts := ranch.Options{Addr: "127.0.0.1:5555", MaxConnections: 100}
	if _, err := ranch.StartListener("echo", transport.TCP{}, opts, echo.Protocol{}); err != nil {
		log.Fatal(err)
	}
	select {} // ranch.SetMaxConnections("echo", n) changes the cap at any time
}

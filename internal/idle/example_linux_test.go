package idle_test

import (
	"fmt"
	"net"

	"goranch/internal/idle"
)

type wakeFunc func()

func (f wakeFunc) Wake()            { f() }
func (f wakeFunc) Ready(*idle.Lead) { f() }

// A read is interrupted, the connection is parked, and data wakes it.
func Example() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	nc, err := ln.Accept()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer nc.Close()

	var reads idle.Reads
	defer reads.Close() // before the socket is closed
	fmt.Println("requested:", reads.RequestPark(nc))
	nc.Read(make([]byte, 1)) // fails with os.ErrDeadlineExceeded
	fmt.Println("reason:", reads.Interruption(nc) == idle.ErrPark)

	woken := make(chan struct{})
	raw, _ := nc.(*net.TCPConn).SyscallConn()
	fmt.Println("parked:", reads.Park(raw, wakeFunc(func() { close(woken) }), nil))
	client.Write([]byte("x"))
	<-woken
	n, _ := nc.Read(make([]byte, 1))
	fmt.Println("read:", n)
	// Output:
	// requested: true
	// reason: true
	// parked: true
	// read: 1
}

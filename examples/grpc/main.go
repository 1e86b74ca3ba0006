// Command grpc runs a gRPC server behind the connection cap of a listener and drains the listener
// while a call is in progress; the call is answered. It serves the health checking service, which
// needs no generated code.
package main

import (
	"context"
	"fmt"
	"log"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	health "google.golang.org/grpc/health/grpc_health_v1"

	"goranch/protocol/netlisten"
	"goranch/ranch"
	"goranch/transport"
)

// slowHealth delays the check of the service "slow".
type slowHealth struct {
	health.UnimplementedHealthServer
	begun chan struct{} // closed when that check has begun
}

func (s slowHealth) Check(_ context.Context, r *health.HealthCheckRequest) (*health.HealthCheckResponse, error) {
	if r.Service == "slow" {
		close(s.begun)
		time.Sleep(50 * time.Millisecond)
	}
	return &health.HealthCheckResponse{Status: health.HealthCheckResponse_SERVING}, nil
}

func main() {
	begun := make(chan struct{})
	srv := grpc.NewServer()
	health.RegisterHealthServer(srv, slowHealth{begun: begun})

	nl := netlisten.New(netlisten.Options{Stop: func(context.Context) { srv.GracefulStop() }})
	l, err := ranch.StartListener("rpc", transport.TCP{}, ranch.Options{Addr: "127.0.0.1:0", MaxConnections: 20, PostListen: nl.PostListen}, nl)
	if err != nil {
		log.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(nl) }()

	cc, err := grpc.NewClient(nl.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	defer cc.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	client := health.NewHealthClient(cc)
	res, err := client.Check(ctx, &health.HealthCheckRequest{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("answered: %v, active connections: %d\n", res.Status, l.Info().ActiveConnections)

	answer := make(chan error, 1)
	go func() {
		_, err := client.Check(ctx, &health.HealthCheckRequest{Service: "slow"})
		answer <- err
	}()
	<-begun
	if err := ranch.Drain(ctx); err != nil {
		log.Fatal(err)
	}
	if err := <-answer; err != nil {
		log.Fatal("call in progress: ", err)
	}
	srv.Stop() // for a server without connections, which does not stop by itself
	if err := <-served; err != nil {
		log.Fatal(err)
	}
	fmt.Println("drained; the call in progress was answered")
}

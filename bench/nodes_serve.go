package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"goranch/bench/internal/costs"
	"goranch/protocol/pubsub"
	"goranch/protocol/pubsub/natsbroker"
	"goranch/transport"
)

// nodeConfig is the configuration of one node, see nodesMain.
type nodeConfig struct {
	engine, mode string
	index        int
	ports        []string // of the routes of all nodes
	store        string   // directory
}

// nodeWait limits how long a node waits for the others, and for the stream.
const nodeWait = 60 * time.Second

// nodeMain runs one node: an embedded nats-server and, unless the engine is nats, a topic server.
// It prints a serverReady when the stream can be used. It publishes for each duration that it
// reads, such as 2s, and answers with the number of messages that the stream has stored per second.
// It exits at the end of stdin.
func nodeMain(args []string) error {
	var cfg nodeConfig
	fs := flag.NewFlagSet("bench node", flag.ContinueOnError)
	fs.StringVar(&cfg.engine, "engine", "", "topics or nats")
	fs.StringVar(&cfg.mode, "mode", costs.Memory, "memory, core or ordered")
	fs.IntVar(&cfg.index, "index", 0, "number of this node")
	ports := fs.String("ports", "", "ports for the routes of all nodes, separated by commas")
	fs.StringVar(&cfg.store, "store", "", "directory of the stream")
	if err := fs.Parse(args); err != nil {
		return err
	}
	cfg.ports = splitList(*ports)
	stdout, err := takeStdout()
	if err != nil {
		return err
	}
	addr, b, err := cfg.start()
	if err != nil {
		return fmt.Errorf("start node %d: %w", cfg.index, err)
	}
	time.AfterFunc(maxLife, func() { os.Exit(2) })
	out := json.NewEncoder(stdout)
	if err := out.Encode(serverReady{Addr: addr, PID: os.Getpid()}); err != nil {
		return err
	}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		d, err := time.ParseDuration(in.Text())
		if err != nil {
			return err
		}
		rate, err := storeRate(b, d)
		if err != nil {
			return err
		}
		if err := out.Encode(rate); err != nil {
			return err
		}
	}
	return in.Err()
}

// start returns the address for clients.
func (cfg nodeConfig) start() (addr string, b *natsbroker.Broker, err error) {
	opts := pubsub.Options{PublishRate: transport.NoLimit, RequestRate: transport.NoLimit, AddressBytes: transport.NoLimit, Heartbeat: transport.NoTimeout}
	if cfg.mode == costs.Memory {
		s, err := pubsub.NewServer(opts)
		if err != nil {
			return "", nil, err
		}
		addr, err = startGoranch(s)(serveConfig{})
		return addr, nil, err
	}
	engine, err := cfg.startEngine()
	if err != nil {
		return "", nil, err
	}
	if cfg.engine == "nats" {
		return engine.Addr().String(), nil, nil
	}
	b, err = natsbroker.New(natsbroker.Options{
		NATS: []nats.Option{nats.InProcessServer(engine)}, Node: cfg.name(), Replicas: len(cfg.ports),
		Ordered: func(string) bool { return cfg.mode == costs.Ordered },
	})
	if err != nil {
		return "", nil, err
	}
	opts.Broker = b
	s, err := pubsub.NewServer(opts)
	if err != nil {
		return "", nil, err
	}
	ready := func() bool {
		return (s.Degraded() == nil || cfg.mode == costs.Core) && b.Stats().Nodes == len(cfg.ports)-1
	}
	if err := await("the stream", ready); err != nil {
		return "", nil, errors.Join(err, s.Degraded())
	}
	addr, err = startGoranch(s)(serveConfig{})
	return addr, b, err
}

func (cfg nodeConfig) name() string { return fmt.Sprint("node-", cfg.index+1) }

// startEngine starts nats-server, in a cluster if there are several nodes.
func (cfg nodeConfig) startEngine() (*server.Server, error) {
	opts := &server.Options{
		ServerName: cfg.name(), Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true,
		PingInterval: time.Hour, DisableShortFirstPing: true, // the generator counts bytes, so no pings
	}
	if cfg.mode == costs.Ordered {
		opts.JetStream, opts.StoreDir = true, cfg.store // it listens for clients too, as nats-server does not open routes otherwise
	}
	if len(cfg.ports) > 1 {
		opts.Cluster.Name, opts.Cluster.Host = "bench", "127.0.0.1"
		if _, err := fmt.Sscan(cfg.ports[cfg.index], &opts.Cluster.Port); err != nil {
			return nil, err
		}
		for _, port := range cfg.ports {
			opts.Routes = append(opts.Routes, &url.URL{Scheme: "nats-route", Host: "127.0.0.1:" + port})
		}
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return nil, err
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		return nil, errors.New("nats-server did not start within 10 s")
	}
	return s, await("the routes", func() bool { return s.NumRemotes() == max(len(cfg.ports), 1)-1 })
}

func await(what string, ready func() bool) error {
	for end := time.Now().Add(nodeWait); !ready(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("%s: not ready within %v", what, nodeWait)
		}
	}
	return nil
}

// storeRate publishes from many goroutines, each message to one of many topics, for a while.
func storeRate(b *natsbroker.Broker, d time.Duration) (perSecond float64, err error) {
	const publishers = 256
	if b == nil {
		return 0, errors.New("only a node with a stream stores messages")
	}
	ctx, cancel := context.WithTimeout(context.Background(), d+30*time.Second)
	defer cancel()
	frame := []byte(strings.Repeat("x", 150))
	var stored atomic.Int64
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	begin := time.Now()
	for i := range publishers {
		topic := fmt.Sprint("store.", i)
		wg.Go(func() {
			for time.Since(begin) < d {
				if _, err := b.Publish(ctx, topic, "", frame); err != nil {
					failed.Store(&err)
					return
				}
				stored.Add(1)
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return 0, *err
	}
	return float64(stored.Load()) / time.Since(begin).Seconds(), nil
}

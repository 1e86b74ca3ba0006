package bots

import (
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/alecthomas/kong"

	"goranch/internal/cliflag"
)

// plan is the parsed command line.
type plan struct {
	Clients int    `short:"n" placeholder:"N" default:"1000" help:"Number of clients that subscribe. Default: ${default}."`
	Host    string `placeholder:"HOST" default:"127.0.0.1" help:"Host name or IP address of the server. Default: ${default}."`
	Port    int    `short:"p" placeholder:"PORT" default:"8081" help:"Port of the server. Default: ${default}."`
	Topic   string `placeholder:"TOPIC" default:"events" help:"Topic that the clients subscribe to. Default: ${default}."`

	MessageSize int     `placeholder:"BYTES" default:"0" help:"Length of the string in the message's data field. 0 means the string 'test'. Default: ${default}."`
	Repeat      int     `placeholder:"N" default:"1" help:"Number of messages to publish. Default: ${default}."`
	Rate        float64 `placeholder:"N" default:"0" help:"Messages published per second, independent of deliveries. 0 means that a message is published when every client has received the one before, or after --timeout. Default: ${default}."`

	Timeout      time.Duration `placeholder:"TIME" default:"5s" help:"Longest wait for a message. A client that misses it counts as bad. Default: ${default}."`
	SetupTimeout time.Duration `placeholder:"TIME" default:"1m" help:"Longest time until all clients are ready, in addition to the time that --connect-rate takes. Setup also ends when no client has advanced for 10s. Default: ${default}."`
	ConnectRate  float64       `placeholder:"N" default:"0" help:"New connections per second. 0 means no limit. Default: ${default}."`
	InFlight     int           `placeholder:"N" default:"256" help:"Most connections that wait for their token at a time. Default: ${default}."`
	Processes    int           `placeholder:"N" default:"0" help:"Number of processes that run the clients. 0 means as few as the limit of open files permits. Default: ${default}."`

	JSON bool `help:"Print the result as one JSON document."`
	Help bool `short:"h" help:"Print this help."`

	Engine string `hidden:"" enum:"auto,goroutines" default:"auto"` // the driver; for comparisons
}

const description = `Measures a Janus server: many clients (bots) connect and subscribe to a topic, messages are published to it, and the time until each client has received each message is measured.`

const helpTail = `
The latency of a delivery is the time of receipt minus the timestamp that the server put into the
message; it is valid only if server and clients share a clock. The wait starts when the message was
published (with --rate: was due) and is measured with the monotonic clock of this machine. A client
is good if it received every message and no wait exceeded --timeout.
On Linux, clients of a server on an IPv4 loopback address connect from 127.0.0.2, 127.0.0.3 and so
on, 20,000 from each address.

Examples:
  ranchctl bots --clients 10000
  ranchctl bots --clients 30000 --host 10.0.0.5 --connect-rate 2000 --json
  ranchctl bots --clients 1000 --repeat 100 --rate 10 --message-size 1000

`

// Upper bounds of flags.
const (
	maxClients     = 1_000_000
	maxMessageSize = 1 << 20
	maxTimeout     = 10 * time.Minute
	maxRepeat      = 1_000_000
)

// parse parses the command line. If done is set, the command must exit with code.
func parse(args []string, stdout, stderr io.Writer) (p *plan, code int, done bool) {
	p = &plan{}
	k := kong.Must(p, kong.Name("ranchctl bots"), kong.Description(description),
		kong.Writers(stdout, stderr), kong.NoDefaultHelp(),
		kong.ValueFormatter(func(v *kong.Value) string { return v.Help }))
	ctx, err := k.Parse(cliflag.Join(args))
	switch {
	case err != nil:
		return nil, usageError(stderr, cliflag.Error(err)), true
	case p.Help:
		ctx.PrintUsage(false)
		io.WriteString(stdout, helpTail+exitHelp)
		return nil, exitGood, true
	}
	if err := p.validate(); err != nil {
		return nil, usageError(stderr, err), true
	}
	return p, exitGood, false
}

func usageError(w io.Writer, err error) int {
	fmt.Fprintf(w, "ranchctl bots: %v\nranchctl bots --help lists all flags.\n", err)
	return exitUsage
}

// validate reports all faults at once.
func (p *plan) validate() error {
	var faults []error
	integer := func(flag string, n, lowest, highest int) {
		if n < lowest || n > highest {
			faults = append(faults, fmt.Errorf("--%s %d: allowed are %d to %d", flag, n, lowest, highest))
		}
	}
	integer("clients", p.Clients, 1, maxClients)
	integer("port", p.Port, 1, math.MaxUint16)
	integer("message-size", p.MessageSize, 0, maxMessageSize)
	integer("repeat", p.Repeat, 1, maxRepeat)
	integer("in-flight", p.InFlight, 1, maxClients)
	integer("processes", p.Processes, 0, 1000)
	for _, f := range []struct {
		flag string
		rate float64
	}{{"rate", p.Rate}, {"connect-rate", p.ConnectRate}} {
		if !(f.rate == 0 || f.rate >= 0.1 && f.rate <= 1e6) {
			faults = append(faults, fmt.Errorf("--%s %v: allowed are 0 and 0.1 to 1000000 per second", f.flag, f.rate))
		}
	}
	for _, f := range []struct {
		flag string
		time time.Duration
	}{{"timeout", p.Timeout}, {"setup-timeout", p.SetupTimeout}} {
		if f.time < time.Millisecond || f.time > maxTimeout {
			faults = append(faults, fmt.Errorf("--%s %v: allowed are 1ms to %v", f.flag, f.time, maxTimeout))
		}
	}
	if p.Topic == "" {
		faults = append(faults, errors.New("--topic: must not be empty"))
	}
	if p.Host == "" {
		faults = append(faults, errors.New("--host: must not be empty"))
	}
	return errors.Join(faults...)
}

// setupLimit returns how long setup may take.
func (p *plan) setupLimit() time.Duration {
	d := p.SetupTimeout
	if p.ConnectRate > 0 {
		d += time.Duration(float64(p.Clients) / p.ConnectRate * float64(time.Second))
	}
	return d
}

package bots

import (
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/alecthomas/kong"
)

// plan is the command line.
type plan struct {
	Clients int    `short:"n" placeholder:"N" default:"1000" help:"How many bots. Default: ${default}."`
	Host    string `placeholder:"HOST" default:"127.0.0.1" help:"The server's name or address. Default: ${default}."`
	Port    int    `short:"p" placeholder:"PORT" default:"8081" help:"The server's port. Default: ${default}."`
	Topic   string `placeholder:"TOPIC" default:"events" help:"The topic that bots subscribe to. Default: ${default}."`

	MessageSize int     `placeholder:"BYTES" default:"0" help:"Length of the message's data, a string. 0 is the word test. Default: ${default}."`
	Repeat      int     `placeholder:"N" default:"1" help:"How many messages to publish. Default: ${default}."`
	Rate        float64 `placeholder:"N" default:"0" help:"Messages per second, whether those before have arrived or not. 0 is each when the one before has arrived everywhere, or --timeout has passed. Default: ${default}."`

	Timeout      time.Duration `placeholder:"TIME" default:"5s" help:"A bot that waits longer for a message is bad. Default: ${default}."`
	SetupTimeout time.Duration `placeholder:"TIME" default:"1m" help:"How long it may take until the bots are ready, to which the time is added that --connect-rate asks for. It ends sooner when nothing at all happens for 10 s. Default: ${default}."`
	ConnectRate  float64       `placeholder:"N" default:"0" help:"Connections per second. 0 is as fast as the server takes them. Default: ${default}."`
	InFlight     int           `placeholder:"N" default:"256" help:"Connections at a time that have no token yet. Default: ${default}."`
	Processes    int           `placeholder:"N" default:"0" help:"Processes to spread the bots over. 0 is as few as the limit of descriptors allows. Default: ${default}."`

	JSON bool `help:"Print one JSON document."`
	Help bool `short:"h" help:"Print this."`

	Engine string `hidden:"" enum:"auto,goroutines" default:"auto"` // for comparing
}

const description = `Drives a Janus server: bots connect and subscribe to a topic, a message is published to it, and each bot's wait is measured.`

const helpTail = `
A bot's latency is its receive time less the message's timestamp, which is the server's: both
need one clock. Its wait is from the publish (with --rate: from when it was to be published)
by the monotonic clock of this machine, and decides whether a bot is good.
To a server on loopback (IPv4, Linux) bots connect from 127.0.0.2, 20,000 from each address.

Examples:
  ranchctl bots --clients 10000
  ranchctl bots --clients 30000 --host 10.0.0.5 --connect-rate 2000 --json
  ranchctl bots --clients 1000 --repeat 100 --rate 10 --message-size 1000

`

// Bounds of flags.
const (
	maxClients     = 1_000_000
	maxMessageSize = 1 << 20
	maxTimeout     = 10 * time.Minute
	maxRepeat      = 1_000_000
)

// parse reads the command line. done means that there is nothing to do, and code is then
// how to exit.
func parse(args []string, stdout, stderr io.Writer) (p *plan, code int, done bool) {
	p = &plan{}
	k := kong.Must(p, kong.Name("ranchctl bots"), kong.Description(description),
		kong.Writers(stdout, stderr), kong.NoDefaultHelp(),
		kong.ValueFormatter(func(v *kong.Value) string { return v.Help }))
	ctx, err := k.Parse(args)
	switch {
	case err != nil:
		return nil, complain(stderr, err), true
	case p.Help:
		ctx.PrintUsage(false)
		io.WriteString(stdout, helpTail+exitHelp)
		return nil, exitGood, true
	}
	if err := p.validate(); err != nil {
		return nil, complain(stderr, err), true
	}
	return p, exitGood, false
}

func complain(w io.Writer, err error) int {
	fmt.Fprintf(w, "ranchctl bots: %v\nranchctl bots --help lists all flags.\n", err)
	return exitUsage
}

// validate reports every fault at once.
func (p *plan) validate() error {
	var faults []error
	whole := func(flag string, n, lowest, highest int) {
		if n < lowest || n > highest {
			faults = append(faults, fmt.Errorf("--%s %d: allowed are the numbers %d to %d", flag, n, lowest, highest))
		}
	}
	whole("clients", p.Clients, 1, maxClients)
	whole("port", p.Port, 1, math.MaxUint16)
	whole("message-size", p.MessageSize, 0, maxMessageSize)
	whole("repeat", p.Repeat, 1, maxRepeat)
	whole("in-flight", p.InFlight, 1, maxClients)
	whole("processes", p.Processes, 0, 1000)
	for _, f := range []struct {
		flag string
		rate float64
	}{{"rate", p.Rate}, {"connect-rate", p.ConnectRate}} {
		if !(f.rate == 0 || f.rate >= 0.1 && f.rate <= 1e6) {
			faults = append(faults, fmt.Errorf("--%s %v: allowed are 0, and 0.1 to 1000000 per second", f.flag, f.rate))
		}
	}
	for _, f := range []struct {
		flag string
		time time.Duration
	}{{"timeout", p.Timeout}, {"setup-timeout", p.SetupTimeout}} {
		if f.time < time.Millisecond || f.time > maxTimeout {
			faults = append(faults, fmt.Errorf("--%s %v: allowed are times from 1ms to %v", f.flag, f.time, maxTimeout))
		}
	}
	if p.Topic == "" {
		faults = append(faults, errors.New("--topic: it must not be empty"))
	}
	if p.Host == "" {
		faults = append(faults, errors.New("--host: it must not be empty"))
	}
	return errors.Join(faults...)
}

// setupLimit is how long connecting may take.
func (p *plan) setupLimit() time.Duration {
	d := p.SetupTimeout
	if p.ConnectRate > 0 {
		d += time.Duration(float64(p.Clients) / p.ConnectRate * float64(time.Second))
	}
	return d
}

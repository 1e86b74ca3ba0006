package bots

import "time"

// spec is what a crew is told first.
type spec struct {
	Clients      int           `json:"clients"`
	First        int           `json:"first"`   // number of its first bot in the run, which decides the source address
	Address      string        `json:"address"` // IP and port
	Message      message       `json:"message"`
	Repeat       int           `json:"repeat"`
	Timeout      time.Duration `json:"timeout"`
	SetupTimeout time.Duration `json:"setup_timeout"`
	ConnectRate  float64       `json:"connect_rate"`
	InFlight     int           `json:"in_flight"`
	Engine       string        `json:"engine"`
}

// order is what a crew is told later. The end of the stream is the order to give up.
type order struct {
	Connect   bool  `json:"connect,omitempty"`
	Published int   `json:"published,omitempty"` // number of a message, from 1
	At        int64 `json:"at,omitempty"`        // when it was, or was to be: in ticks; 0 if it could not be published
	End       bool  `json:"end,omitempty"`
}

// news are what a crew tells.
type news struct {
	Up       bool         `json:"up,omitempty"` // has started, and waits for Connect
	Progress *progressed  `json:"progress,omitempty"`
	Settled  bool         `json:"settled,omitempty"` // no bot is on its way to ready any more; comes with Progress
	Burst    *burstResult `json:"burst,omitempty"`
	Final    *final       `json:"final,omitempty"`
	Failed   string       `json:"failed,omitempty"` // the crew cannot go on
}

type progressed struct {
	Tokens  int            `json:"tokens"` // bots that have one
	Ready   int            `json:"ready"`
	Lost    int            `json:"lost"`
	Reasons map[string]int `json:"reasons,omitempty"` // of those lost; when Settled
}

// burstResult is what became of a message at a crew's bots.
type burstResult struct {
	Number  int    `json:"number"`
	Samples []byte `json:"samples"` // of those who got it in time
	Late    int    `json:"late"`
	Ahead   int    `json:"ahead"` // got it before its timestamp: the clocks differ
}

type final struct {
	Good    int            `json:"good"`
	Reasons map[string]int `json:"reasons"` // of the others
	Foreign int            `json:"foreign"` // messages of others
	Repeats int            `json:"repeats"` // messages of this run that came twice or out of order
}

// base connects Go's clock with one that all processes share.
var base, baseTicks = startClock()

// ticks are nanoseconds of a clock that all processes of the machine share.
func ticks(t time.Time) int64 { return baseTicks + int64(t.Sub(base)) }

package bots

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

// The session between coordinator and worker. The coordinator sends one workerConfig, then
// commands; the worker sends reports. Each is a line of JSON. A worker exits when the stream of
// commands ends.

// workerConfig describes the clients of one worker.
type workerConfig struct {
	NumClients   int           `json:"clients"`
	First        int           `json:"first"`   // number of its first client in the run; decides the source addresses
	Address      string        `json:"address"` // IP and port of the server
	Message      message       `json:"message"`
	Repeat       int           `json:"repeat"` // messages of the run
	Timeout      time.Duration `json:"timeout"`
	SetupTimeout time.Duration `json:"setup_timeout"`
	ConnectRate  float64       `json:"connect_rate"` // per second; 0 is no limit
	MaxInFlight  int           `json:"in_flight"`    // connections without a token
	Engine       string        `json:"engine"`
}

// command is sent by the coordinator. One field is set, or Published and At.
type command struct {
	Connect   bool  `json:"connect,omitempty"`   // start to connect the clients
	Published int   `json:"published,omitempty"` // the number of a message, from 1, that was published or has failed
	At        int64 `json:"at,omitempty"`        // when it was published or due, in ticks; 0: it could not be published
	End       bool  `json:"end,omitempty"`       // send the final report and exit
}

// report is sent by a worker.
type report struct {
	Up        bool             `json:"up,omitempty"` // the worker waits for Connect
	Progress  *progressReport  `json:"progress,omitempty"`
	SetupDone bool             `json:"setup_done,omitempty"` // every client is ready or lost; set with Progress
	Broadcast *broadcastReport `json:"broadcast,omitempty"`
	Final     *finalReport     `json:"final,omitempty"`
	Failed    string           `json:"failed,omitempty"` // the worker exits with this error
}

type progressReport struct {
	Tokens  int            `json:"tokens"` // clients that have received a token
	Ready   int            `json:"ready"`
	Lost    int            `json:"lost"`
	Reasons map[string]int `json:"reasons,omitempty"` // of lost clients; set with SetupDone
}

// broadcastReport describes how one message reached a worker's clients.
type broadcastReport struct {
	Number  int    `json:"number"`
	Samples []byte `json:"samples"` // of the deliveries in time, see samplesOf
	Late    int    `json:"late"`
	Ahead   int    `json:"ahead"` // deliveries before the timestamp: the clocks differ
}

// finalReport describes the clients of a worker after the last message.
type finalReport struct {
	Good    int            `json:"good"`
	Reasons map[string]int `json:"reasons"` // of the clients that are not good
	Foreign int            `json:"foreign"` // received messages of other publishers
	Repeats int            `json:"repeats"` // received messages of this run that were duplicates or too old to tell
}

// commandReader splits a stream into commands.
type commandReader struct{ partial []byte }

// feed parses the next bytes of the stream and calls handle for each complete command.
func (r *commandReader) feed(b []byte, handle func(command)) error {
	r.partial = append(r.partial, b...)
	for {
		line, rest, ok := bytes.Cut(r.partial, []byte{'\n'})
		if !ok {
			return nil
		}
		var c command
		if err := json.Unmarshal(line, &c); err != nil {
			return fmt.Errorf("invalid command %.80q: %w", line, err)
		}
		r.partial = rest
		handle(c)
	}
}

// base and baseTicks are one moment by Go's clock and by a clock that all processes share.
var base, baseTicks = readClocks()

// ticks converts t to nanoseconds of the clock that all processes of the machine share.
func ticks(t time.Time) int64 { return baseTicks + int64(t.Sub(base)) }

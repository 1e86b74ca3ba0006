package bots

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"time"
)

const (
	workerFlag       = "--worker"       // the argument of a child process
	setupStall       = 10 * time.Second // setup ends if no client advances for this time
	progressInterval = 200 * time.Millisecond
	maxReasons       = 32 // distinct texts
)

// worker runs the clients of one process. It holds their state; a driver owns the sockets and calls
// the methods, one at a time.
type worker struct {
	workerConfig
	out    *json.Encoder
	outErr error

	// Requests, encoded once.
	subscribe, unsubscribe []byte

	// Clients and how many of them are in a phase. inFlight counts connections without a token.
	clients                                []client
	started, inFlight, tokens, ready, lost int
	reasons                                []string // of lost clients

	// Messages.
	broadcasts       map[int]*broadcast // by number; not yet reported
	reported         []bool             // by number
	foreign, repeats int

	// Setup.
	start        time.Time // zero until Connect
	lastAdvance  time.Time // when a client last entered a new phase
	lastProgress time.Time // when progress was last reported
	setupDone    bool

	ended bool // End was received
}

// driver runs the clients of a worker on sockets until the worker has ended. It reads commands from
// control.
type driver func(w *worker, control *os.File) error

func newWorker(cfg workerConfig, out io.Writer) *worker {
	cfg.Message.prepare()
	return &worker{
		workerConfig: cfg, out: json.NewEncoder(out),
		subscribe: request("subscribe", cfg.Message.Topic), unsubscribe: request("unsubscribe", cfg.Message.Topic),
		clients: make([]client, cfg.NumClients), broadcasts: map[int]*broadcast{}, reported: make([]bool, cfg.Repeat+1),
	}
}

// runWorker runs a worker that sends its reports to out.
func runWorker(cfg workerConfig, control *os.File, out io.Writer) error {
	w := newWorker(cfg, out)
	w.send(report{Up: true})
	drive := defaultDriver
	if cfg.Engine == "goroutines" {
		drive = driveGoroutines
	}
	err := drive(w, control)
	if err != nil {
		w.send(report{Failed: err.Error()})
	}
	return err
}

func (w *worker) send(r report) { w.outErr = errors.Join(w.outErr, w.out.Encode(r)) }

// handle executes a command.
func (w *worker) handle(c command, now time.Time) {
	switch {
	case c.Connect:
		w.start, w.lastAdvance, w.lastProgress = now, now, now
	case c.End:
		w.ended = true
		w.send(report{Final: w.final()})
	case c.Published > 0:
		b := w.broadcast(c.Published)
		b.published, b.at = true, c.At
		w.reportIfComplete(c.Published, b, now)
	}
}

// next returns the number of a client that the driver must connect now, and false if there is none.
func (w *worker) next(now time.Time) (i int, ok bool) {
	if w.start.IsZero() || w.setupDone || w.started == w.NumClients || w.inFlight >= w.MaxInFlight {
		return 0, false
	}
	if w.ConnectRate > 0 && float64(w.started) > now.Sub(w.start).Seconds()*w.ConnectRate {
		return 0, false
	}
	i = w.started
	w.started++
	w.inFlight++
	w.clients[i].phase = connecting
	return i, true
}

// tick enforces time limits and reports progress. It returns the clients whose connections the
// driver must close. The driver must call it every few milliseconds.
func (w *worker) tick(now time.Time) (closing []int, done bool) {
	if !w.start.IsZero() && !w.setupDone {
		closing = w.checkSetup(now)
	}
	for n, b := range w.broadcasts {
		w.reportIfComplete(n, b, now)
	}
	return closing, w.ended || w.outErr != nil
}

// checkSetup ends the setup if every client is ready or lost, or if it takes too long.
func (w *worker) checkSetup(now time.Time) (closing []int) {
	stall := min(setupStall, w.SetupTimeout)
	if w.ready+w.lost < w.NumClients && (now.Sub(w.lastAdvance) > stall || now.Sub(w.start) > w.SetupTimeout) {
		closing = w.abandonSetup(now)
	}
	w.setupDone = w.ready+w.lost == w.NumClients
	if w.setupDone || now.Sub(w.lastProgress) >= progressInterval {
		w.lastProgress = now
		p := &progressReport{Tokens: w.tokens, Ready: w.ready, Lost: w.lost}
		if w.setupDone {
			p.Reasons = w.lostReasons()
		}
		w.send(report{Progress: p, SetupDone: w.setupDone})
	}
	return closing
}

// abandonSetup marks every client as lost that is not ready.
func (w *worker) abandonSetup(now time.Time) (closing []int) {
	for i := range w.clients {
		p := w.clients[i].phase
		if p >= ready {
			continue
		}
		if p != notStarted {
			closing = append(closing, i)
		}
		w.disconnected(i, errors.New("no "+awaited[p]+" within the setup time"), now)
	}
	return closing
}

func (w *worker) lostReasons() map[string]int {
	m := map[string]int{}
	for i := range w.clients {
		if w.clients[i].phase == lost {
			m[w.reasons[w.clients[i].reason]]++
		}
	}
	return m
}

func (w *worker) final() *finalReport {
	f := &finalReport{Reasons: map[string]int{}, Foreign: w.foreign, Repeats: w.repeats}
	for i := range w.clients {
		switch c := &w.clients[i]; {
		case int(c.inTime) == w.Repeat:
			f.Good++
		case c.phase == lost:
			f.Reasons[w.reasons[c.reason]]++
		default:
			f.Reasons["no message within "+shorten(w.Timeout)]++
		}
	}
	return f
}

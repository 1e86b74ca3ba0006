package bots

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"syscall"
	"time"
)

const (
	crewFlag      = "--crew" // of a process that is a crew
	setupStall    = 10 * time.Second
	progressEvery = 200 * time.Millisecond
	sampleBytes   = 8
	maxReasons    = 32 // kinds of them
)

// phase is how far a bot has come.
type phase uint8

const (
	unborn phase = iota
	connecting
	greeted // waits for its token
	subscribing
	ready
	lost
)

// unfinished says what a bot still waits for.
var unfinished = [...]string{unborn: "connection", connecting: "connection", greeted: "token", subscribing: "ACK", ready: "message"}

// bot is one client. What it needs from its driver is not in here.
type bot struct {
	phase phase
	why   uint8 // of a lost one, in crew.reasons
	last  int32 // number of the last message
	good  int32 // messages in time
	part  []byte
}

// crew is the bots of one process. Its methods are called by one goroutine at a time.
type crew struct {
	spec
	out    *json.Encoder
	outErr error
	bots   []bot

	subscribe, unsubscribe []byte

	begun, waiting, tokens, ready, lost int // waiting: for a token

	reasons          []string
	bursts           map[int]*burst
	over             []bool // bursts by number
	foreign, repeats int

	start, moved, told time.Time // of connecting; when a bot last advanced; when progress was told
	settled, ended     bool
}

// driver runs the bots of a crew on sockets, until the crew is done. Orders come from control.
type driver func(c *crew, control *os.File) error

func newCrew(s spec, out io.Writer) *crew {
	s.Message.prepare()
	return &crew{
		spec: s, out: json.NewEncoder(out), subscribe: request("subscribe", s.Message.Topic), unsubscribe: request("unsubscribe", s.Message.Topic),
		bots: make([]bot, s.Clients), bursts: map[int]*burst{}, over: make([]bool, s.Repeat+1),
	}
}

func (c *crew) tell(n news) { c.outErr = errors.Join(c.outErr, c.out.Encode(n)) }

// obey takes an order.
func (c *crew) obey(o order, now time.Time) {
	switch {
	case o.Connect:
		c.start, c.moved, c.told = now, now, now
	case o.End:
		c.ended = true
		c.tell(news{Final: c.final()})
	case o.Published > 0:
		b := c.burst(o.Published)
		b.told, b.at = true, o.At
		c.finish(o.Published, b, now)
	}
}

// next returns the number of a bot that is to connect now, and false if none is.
func (c *crew) next(now time.Time) (i int, ok bool) {
	if c.start.IsZero() || c.settled || c.begun == c.Clients || c.waiting >= c.InFlight {
		return 0, false
	}
	if c.ConnectRate > 0 && float64(c.begun) > now.Sub(c.start).Seconds()*c.ConnectRate {
		return 0, false
	}
	i = c.begun
	c.begun++
	c.waiting++
	c.bots[i].phase = connecting
	return i, true
}

// connected is told of a connection, and returns what to send.
func (c *crew) connected(i int, now time.Time) []byte {
	if c.bots[i].phase == connecting {
		c.bots[i].phase = greeted
		c.moved = now
	}
	return []byte(greet)
}

// take is given what has arrived, and returns what to send. An error ends the bot.
func (c *crew) take(i int, b []byte, at time.Time) (answer []byte, err error) {
	x := &c.bots[i]
	if len(x.part) > 0 {
		x.part = append(x.part, b...)
		b = x.part
	}
	for {
		end := bytes.IndexByte(b, serverEnd)
		if end < 0 {
			break
		}
		out, err := c.frame(i, x, b[:end], at)
		if err != nil {
			return nil, err
		}
		answer = append(answer, out...)
		b = b[end+1:]
	}
	if !plausible(b) || len(b) > 2*maxMessageSize {
		return nil, garbage("a frame", b)
	}
	if len(b) == 0 {
		x.part = nil
	} else {
		x.part = append([]byte(nil), b...)
	}
	return answer, nil
}

func (c *crew) frame(i int, x *bot, f []byte, at time.Time) (answer []byte, err error) {
	if string(f) == "PING" {
		return []byte(pong), nil
	}
	switch {
	case x.phase == greeted:
		if err := readToken(f); err != nil {
			return nil, err
		}
		x.phase = subscribing
		c.waiting--
		c.tokens++
		c.moved = at
		return c.subscribe, nil
	case x.phase == subscribing && string(f) == "ACK":
		x.phase = ready
		c.ready++
		c.moved = at
		return nil, nil
	}
	stamp, n, err := c.Message.read(f)
	switch {
	case errors.Is(err, errForeign):
		c.foreign++
		return nil, nil
	case err != nil:
		return nil, err
	case n > c.Repeat || int32(n) <= x.last || x.phase != ready:
		c.repeats++
		return nil, nil
	}
	x.last = int32(n)
	b := c.burst(n)
	b.add(i, at, stamp)
	if b.told {
		c.finish(n, b, at)
	}
	return nil, nil
}

// lose is told that a bot's connection has ended, or has to be ended.
func (c *crew) lose(i int, err error, now time.Time) {
	x := &c.bots[i]
	if x.phase == lost {
		return
	}
	switch x.phase {
	case connecting, greeted:
		c.waiting--
	case ready:
		c.ready--
	}
	x.why = c.reason(reasonOf(err, x.phase))
	x.phase, x.part = lost, nil
	c.lost++
	c.moved = now
	for n, b := range c.bursts {
		if x.last < int32(n) {
			b.absent++
			c.finish(n, b, now)
		}
	}
}

// reasonOf puts errors of many kinds into few words.
func reasonOf(err error, p phase) string {
	switch {
	case errors.Is(err, io.EOF):
		return "closed by the server before the " + unfinished[p]
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection reset before the " + unfinished[p]
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return "too many open files"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "no free port or address to connect from"
	}
	return err.Error()
}

// reason returns the number of a reason.
func (c *crew) reason(s string) uint8 {
	for i, r := range c.reasons {
		if r == s {
			return uint8(i)
		}
	}
	if len(c.reasons) == maxReasons {
		c.reasons = append(c.reasons, "other reasons")
	}
	if len(c.reasons) > maxReasons {
		return maxReasons
	}
	c.reasons = append(c.reasons, s)
	return uint8(len(c.reasons) - 1)
}

// tick does what is due, and returns the bots that have to be closed. It has to be called every few milliseconds.
func (c *crew) tick(now time.Time) (closing []int, done bool) {
	if !c.start.IsZero() && !c.settled {
		closing = c.settle(now)
	}
	for n, b := range c.bursts {
		c.finish(n, b, now)
	}
	return closing, c.ended || c.outErr != nil
}

// settle ends setting up when all are ready or lost, or it takes too long.
func (c *crew) settle(now time.Time) (closing []int) {
	stall := min(setupStall, c.SetupTimeout)
	if c.ready+c.lost < c.Clients && (now.Sub(c.moved) > stall || now.Sub(c.start) > c.SetupTimeout) {
		c.settled = true // so that none is begun
		for i := range c.bots {
			if p := c.bots[i].phase; p < ready {
				if p != unborn {
					closing = append(closing, i)
				}
				c.lose(i, errors.New("no "+unfinished[p]+" when setting up was given up"), now)
			}
		}
	}
	c.settled = c.ready+c.lost == c.Clients
	if c.settled || now.Sub(c.told) >= progressEvery {
		c.told = now
		p := &progressed{Tokens: c.tokens, Ready: c.ready, Lost: c.lost}
		if c.settled {
			p.Reasons = c.lostReasons()
		}
		c.tell(news{Progress: p, Settled: c.settled})
	}
	return closing
}

// farewell returns what a bot sends before it leaves. A server that keeps the sessions of those who are away would
// otherwise go on to deliver to them, and later runs would measure that too.
func (c *crew) farewell(i int) []byte {
	if p := c.bots[i].phase; p != ready && p != subscribing {
		return nil
	}
	return c.unsubscribe
}

func (c *crew) lostReasons() map[string]int {
	m := map[string]int{}
	for i := range c.bots {
		if c.bots[i].phase == lost {
			m[c.reasons[c.bots[i].why]]++
		}
	}
	return m
}

func (c *crew) final() *final {
	f := &final{Reasons: map[string]int{}, Foreign: c.foreign, Repeats: c.repeats}
	for i := range c.bots {
		switch x := &c.bots[i]; {
		case int(x.good) == c.Repeat:
			f.Good++
		case x.phase == lost:
			f.Reasons[c.reasons[x.why]]++
		default:
			f.Reasons["no message within "+shorten(c.Timeout)]++
		}
	}
	return f
}

package bots

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

const (
	dialTimeout = 5 * time.Second
	dialsAhead  = 16
	dialers     = 4
	firstDelay  = 50 * time.Millisecond // until the first of an open loop
	maxFailures = 3                     // in a row, then no more is published
)

// published is told of each message.
type published struct {
	n   int
	at  time.Time // when it was to be published with a rate, else when it was
	lag time.Duration
	err error
}

// publisher publishes messages, each over a connection of its own, as the protocol has it.
type publisher struct {
	address string
	message message
	repeat  int
	rate    float64
	timeout time.Duration // of what the server may say about a message

	told chan published
	next chan struct{} // without a rate: publish one more
	stop context.CancelFunc
	all  sync.WaitGroup

	mu         sync.Mutex
	complaints map[string]int // of the server, about what was published
}

func newPublisher(p *plan, address string, m message) *publisher {
	m.prepare()
	return &publisher{
		address: address, message: m, repeat: p.Repeat, rate: p.Rate, timeout: p.Timeout,
		told: make(chan published, 64), next: make(chan struct{}, 1), stop: func() {}, complaints: map[string]int{},
	}
}

// dial connects and takes a token.
func (p *publisher) dial(ctx context.Context) (*net.TCPConn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", p.address)
	if err != nil {
		return nil, err
	}
	unhook := context.AfterFunc(ctx, func() { nc.SetReadDeadline(time.Unix(1, 0)) })
	defer unhook()
	in := bufio.NewReader(nc)
	for {
		f, err := in.ReadBytes(serverEnd)
		if string(f) == "PING\x01" {
			continue
		}
		if err == nil {
			err = readToken(f[:len(f)-1])
		} else if len(f) > 0 && !plausible(f) {
			err = garbage("a token", f)
		} else if errors.Is(err, io.EOF) {
			err = errors.New("closed by the server before the token")
		} else if ctx.Err() != nil {
			err = fmt.Errorf("no token within %v", dialTimeout)
		}
		if err != nil {
			nc.Close()
			return nil, err
		}
		return nc.(*net.TCPConn), nil
	}
}

// begin publishes in the background until ctx ends or end is called.
func (p *publisher) begin(ctx context.Context) {
	ctx, p.stop = context.WithCancel(ctx)
	p.all.Go(func() {
		defer close(p.told)
		if p.rate > 0 {
			p.openLoop(ctx)
		} else {
			p.closedLoop(ctx)
		}
	})
}

func (p *publisher) end() {
	p.stop()
	for range p.told {
	}
	p.all.Wait()
}

// closedLoop publishes whenever it is told to.
func (p *publisher) closedLoop(ctx context.Context) {
	for n := 1; n <= p.repeat; n++ {
		select {
		case <-p.next:
		case <-ctx.Done():
			return
		}
		nc, err := p.dial(ctx)
		at := time.Now()
		if err == nil {
			err = p.send(ctx, nc, n)
		}
		p.say(ctx, published{n: n, at: at, err: err})
	}
}

// dialed is a connection to publish with, or why there is none.
type dialed struct {
	nc  *net.TCPConn
	err error
}

// openLoop publishes at a rate. Connections are made ahead. One that is late is published at once,
// and its wait counts from when it was due.
func (p *publisher) openLoop(ctx context.Context) {
	ahead := make(chan dialed, min(dialsAhead, p.repeat))
	dialing, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	work.Go(func() { p.dialAhead(dialing, ahead) })
	begin := time.Now().Add(firstDelay)
	for n := 1; n <= p.repeat && ctx.Err() == nil; n++ {
		due := begin.Add(time.Duration(float64(n-1) / p.rate * float64(time.Second)))
		d := dialed{err: context.Canceled}
		if sleepUntil(ctx, due) {
			select {
			case d = <-ahead:
			case <-ctx.Done():
			}
		}
		lag := time.Since(due)
		if d.err == nil {
			d.err = p.send(ctx, d.nc, n)
		}
		p.say(ctx, published{n: n, at: due, lag: lag, err: d.err})
	}
	cancel()
	work.Wait()
	for d := range ahead {
		if d.err == nil {
			d.nc.Close()
		}
	}
}

func sleepUntil(ctx context.Context, t time.Time) bool {
	timer := time.NewTimer(time.Until(t))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// dialAhead makes one connection for each message.
func (p *publisher) dialAhead(ctx context.Context, ahead chan<- dialed) {
	defer close(ahead)
	turns := make(chan struct{})
	var work sync.WaitGroup
	for range min(dialers, p.repeat) {
		work.Go(func() {
			for range turns {
				nc, err := p.dial(ctx)
				select {
				case ahead <- dialed{nc, err}:
				case <-ctx.Done():
					if err == nil {
						nc.Close()
					}
				}
			}
		})
	}
	for range p.repeat {
		select {
		case turns <- struct{}{}:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(turns)
	work.Wait()
}

func (p *publisher) say(ctx context.Context, w published) {
	select {
	case p.told <- w:
	case <-ctx.Done():
	}
}

// send publishes a message. The end of the stream is the end of the message, as the original server wants it.
func (p *publisher) send(ctx context.Context, nc *net.TCPConn, n int) error {
	nc.SetWriteDeadline(time.Now().Add(p.timeout))
	_, err := nc.Write(p.message.publish(n))
	if err = errors.Join(err, nc.CloseWrite()); err != nil {
		nc.Close()
		return err
	}
	p.all.Go(func() { p.listen(ctx, nc) })
	return nil
}

// listen waits until the server closes, and keeps its complaints.
func (p *publisher) listen(ctx context.Context, nc *net.TCPConn) {
	defer nc.Close()
	defer context.AfterFunc(ctx, func() { nc.SetReadDeadline(time.Unix(1, 0)) })()
	nc.SetReadDeadline(time.Now().Add(p.timeout))
	b, _ := io.ReadAll(io.LimitReader(nc, 64<<10))
	for f := range bytes.SplitSeq(b, []byte{serverEnd}) {
		if bytes.HasPrefix(f, []byte(`{"error"`)) {
			p.mu.Lock()
			if err := readToken(f); len(p.complaints) < maxReasons {
				p.complaints[err.Error()]++
			}
			p.mu.Unlock()
		}
	}
}

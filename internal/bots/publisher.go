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
	dialsAhead  = 16                    // connections of an open loop that wait for their message
	dialers     = 4                     // goroutines that make them
	firstDelay  = 50 * time.Millisecond // before the first message of an open loop
	maxFailures = 3                     // messages in a row that fail before publishing stops
)

// publishResult is the outcome of one publish.
type publishResult struct {
	n   int           // number of the message
	at  time.Time     // when it was due (open loop), or when it was published
	lag time.Duration // time between due and published
	err error
}

// publisher publishes messages, each on a connection of its own, as the Janus protocol requires.
type publisher struct {
	address string
	message message
	repeat  int
	rate    float64
	timeout time.Duration // for the server to take a message and to answer an error

	results chan publishResult
	next    chan struct{} // closed loop: publish the next message
	stop    context.CancelFunc
	wg      sync.WaitGroup

	mu       sync.Mutex
	rejected map[string]int // published messages that the server answered with an error, by error
}

func newPublisher(p *plan, address string, m message) *publisher {
	m.prepare()
	return &publisher{
		address: address, message: m, repeat: p.Repeat, rate: p.Rate, timeout: p.Timeout,
		results: make(chan publishResult, 64), next: make(chan struct{}, 1), stop: func() {}, rejected: map[string]int{},
	}
}

// dial connects and reads the token.
func (p *publisher) dial(ctx context.Context) (*net.TCPConn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", p.address)
	if err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, func() { nc.SetReadDeadline(time.Unix(1, 0)) })()
	in := bufio.NewReader(nc)
	for {
		f, err := in.ReadBytes(serverEnd)
		if string(f) == "PING\x01" {
			continue
		}
		if err == nil {
			err = parseToken(f[:len(f)-1])
		} else if len(f) > 0 && !plausible(f) {
			err = invalid("token", f)
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

// begin publishes in the background until ctx is done or end is called.
func (p *publisher) begin(ctx context.Context) {
	ctx, p.stop = context.WithCancel(ctx)
	p.wg.Go(func() {
		defer close(p.results)
		if p.rate > 0 {
			p.openLoop(ctx)
		} else {
			p.closedLoop(ctx)
		}
	})
}

func (p *publisher) end() {
	p.stop()
	for range p.results {
	}
	p.wg.Wait()
}

// closedLoop publishes a message for each value in next.
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
		p.report(ctx, publishResult{n: n, at: at, err: err})
	}
}

// dialed is the result of a dial.
type dialed struct {
	nc  *net.TCPConn
	err error
}

// openLoop publishes at a fixed rate, on connections that were made before. An overdue message is
// published at once, and its wait starts when it was due: otherwise a slow server would delay the
// measurement of its own slowness.
func (p *publisher) openLoop(ctx context.Context) {
	ahead := make(chan dialed, min(dialsAhead, p.repeat))
	dialCtx, cancel := context.WithCancel(ctx)
	var dialing sync.WaitGroup
	dialing.Go(func() { p.dialAhead(dialCtx, ahead) })
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
		p.report(ctx, publishResult{n: n, at: due, lag: lag, err: d.err})
	}
	cancel()
	dialing.Wait()
	for d := range ahead {
		if d.err == nil {
			d.nc.Close()
		}
	}
}

// sleepUntil reports whether t was reached before ctx was done.
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
	var wg sync.WaitGroup
	for range min(dialers, p.repeat) {
		wg.Go(func() {
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
	wg.Wait()
}

func (p *publisher) report(ctx context.Context, r publishResult) {
	select {
	case p.results <- r:
	case <-ctx.Done():
	}
}

// send publishes a message. The original server takes the end of the stream as the end of the
// message.
func (p *publisher) send(ctx context.Context, nc *net.TCPConn, n int) error {
	nc.SetWriteDeadline(time.Now().Add(p.timeout))
	_, err := nc.Write(p.message.publishRequest(n))
	if err = errors.Join(err, nc.CloseWrite()); err != nil {
		nc.Close()
		return err
	}
	p.wg.Go(func() { p.readErrors(ctx, nc) })
	return nil
}

// readErrors counts the errors that the server answers until it closes the connection.
func (p *publisher) readErrors(ctx context.Context, nc *net.TCPConn) {
	defer nc.Close()
	defer context.AfterFunc(ctx, func() { nc.SetReadDeadline(time.Unix(1, 0)) })()
	nc.SetReadDeadline(time.Now().Add(p.timeout))
	b, _ := io.ReadAll(io.LimitReader(nc, 64<<10))
	for f := range bytes.SplitSeq(b, []byte{serverEnd}) {
		if bytes.HasPrefix(f, []byte(`{"error"`)) {
			p.mu.Lock()
			if err := parseToken(f); err != nil && len(p.rejected) < maxReasons {
				p.rejected[err.Error()]++
			}
			p.mu.Unlock()
		}
	}
}

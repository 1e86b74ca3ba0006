package relay

import (
	"context"
	"sync"
	"time"

	"goranch/internal/engine"
	"goranch/transport"
)

// maxChecks is the number of health checks that are in progress at once.
const maxChecks = 32

// checker runs the health checks of a Relay in a goroutine, which exists only if there are any. Its
// lock is that of the Relay, except for close.
type checker struct {
	mu      sync.Mutex
	closed  bool
	cancel  context.CancelFunc // nil: it does not run
	done    chan struct{}
	options chan struct{} // receives a value when the options have changed
}

// update starts or stops the checks, or applies new options.
func (c *checker) update(r *Relay, on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed || !on && c.cancel == nil:
	case !on:
		c.cancel()
		c.cancel = nil
	case c.cancel == nil:
		var ctx context.Context
		ctx, c.cancel = context.WithCancel(context.Background())
		previous := c.done
		c.done, c.options = make(chan struct{}), make(chan struct{}, 1)
		go r.check(ctx, previous, c.done, c.options)
	default:
		select {
		case c.options <- struct{}{}:
		default:
		}
	}
}

func (c *checker) close(ctx context.Context) error {
	c.mu.Lock()
	c.closed = true
	if c.cancel != nil {
		c.cancel()
	}
	done := c.done
	c.mu.Unlock()
	if done == nil {
		return nil
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// check checks all upstreams at each interval until ctx ends.
func (r *Relay) check(ctx context.Context, previous, done, options chan struct{}) {
	defer close(done)
	if previous != nil {
		<-previous
	}
	tick := time.NewTimer(0)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-options:
		case <-ctx.Done():
			return
		}
		r.checkAll(ctx)
		tick.Reset(r.opts.Load().Check.Interval)
	}
}

func (r *Relay) checkAll(ctx context.Context) {
	o := r.opts.Load()
	r.mu.Lock()
	all := append([]*upstream(nil), r.upstreams...)
	r.mu.Unlock()
	slots := make(chan struct{}, maxChecks)
	var wg sync.WaitGroup
	for _, u := range all {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			err := o.checkOne(ctx, u.addr)
			if ctx.Err() == nil {
				r.checked(u, err)
			}
		})
	}
	wg.Wait()
}

// checkOne connects to addr.
func (o *Options) checkOne(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, o.Check.Timeout)
	defer cancel()
	steps, ok := engine.StepsOf(o.Transport)
	if !ok {
		steps.Connect = o.Transport.Dial
	}
	nc, err := steps.Connect(ctx, addr)
	if err != nil {
		return err
	}
	defer nc.Close()
	if o.ProxyHeader > 0 {
		return sendHeader(ctx, nc, &transport.ProxyHeader{Version: o.ProxyHeader, Local: true})
	}
	return nil
}

// checked records the result of a check.
func (r *Relay) checked(u *upstream, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	o := r.opts.Load()
	u.checkedAt = time.Now()
	if err != nil {
		u.lastErr, u.lastErrAt = err.Error(), u.checkedAt
	}
	if u.down != (err == nil) || o.Check.Interval <= 0 { // as before
		u.streak = 0
		return
	}
	u.streak++
	if needed := map[bool]int{true: o.Check.Rise, false: o.Check.Fall}[u.down]; u.streak < needed {
		return
	}
	u.down, u.streak = !u.down, 0
	if !u.down {
		u.outUntil = time.Time{}
	}
	r.changed(o, u)
}

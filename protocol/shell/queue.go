package shell

// request is a request of a client.
type request struct {
	c    *conn
	id   int      // its number on the connection, from 1
	cmd  *Command // found when it arrived; nil: there was none of that name
	text string   // the line; "": cancelled while it was queued
}

// So many requests, or a few with so many bytes, can be queued. Beyond it the connection is not
// read.
const (
	maxQueued      = 64
	maxQueuedBytes = 16 << 10
)

// full reports whether no further request can be queued. r.mu is held.
func (r *runner) full() bool {
	bytes := 0
	for _, req := range r.queue {
		bytes += len(req.text)
	}
	return len(r.queue) >= maxQueued || bytes >= maxQueuedBytes
}

// submit runs req after the requests before it. It is called in the goroutine of the connection and
// blocks while the queue is full.
func (r *runner) submit(req request) {
	if !r.acquire(&req) {
		return
	}
	if req.cmd != nil && req.cmd.Quick {
		req.c.waitBelowHighWater()
		r.run(&req)
		if next, more := r.next(); more {
			r.start(next)
		}
		return
	}
	r.start(req)
}

// acquire marks the runner busy for req. It returns false if req was queued, or dropped because the
// session has ended or was taken over.
func (r *runner) acquire(req *request) bool {
	r.mu.Lock()
	if r.full() {
		r.mu.Unlock()
		req.c.flush()
		if !r.waitUntil(req.c, req.c.peer.Context().Done(), func() bool { return !r.full() }) {
			return false
		}
		r.mu.Lock()
	}
	defer r.mu.Unlock()
	if r.ended || r.conn != req.c {
		return false
	}
	if r.busy {
		r.queue = append(r.queue, *req)
		return false
	}
	r.busy = true
	return true
}

// start runs req, and the requests queued after it, in a worker.
func (r *runner) start(req request) {
	if !r.shell.start(job{r, req}) {
		r.abandon()
	}
}

// abandon drops the queued requests and marks the runner idle.
func (r *runner) abandon() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.busy, r.ctx, r.earlyCancel, r.queue = false, nil, nil, nil
	r.signal()
}

// work runs req and then queued requests until there are none.
func (r *runner) work(req request) {
	for more := true; more; req, more = r.next() {
		req.c.waitBelowHighWater()
		r.run(&req)
	}
}

// waitBelowHighWater waits while highWater bytes wait for a client that does not read its answers:
// its next request runs when it does.
func (c *conn) waitBelowHighWater() { c.peer.Outbox().WaitBelow(c.peer.Context(), highWater) }

// next returns the next queued request. If there is none it marks the runner idle.
func (r *runner) next() (req request, more bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ctx, r.earlyCancel = nil, nil
	if more = len(r.queue) > 0; more {
		req, r.queue[0] = r.queue[0], request{}
		r.queue = r.queue[1:]
	} else {
		r.busy, r.queue = false, nil
	}
	r.signal()
	return req, more
}

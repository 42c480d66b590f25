package redistest

import (
	"net"
	"sync"
	"time"
)

// maxPending bounds the bytes that a flow takes from a sender before it delivers any; beyond, the
// sender's own writes block, as on a real network.
const maxPending = 4 << 20

// linkConn is one connection of a link: a client's side, a server's side and a flow each way.
type linkConn struct {
	client, server net.Conn
	flows          [2]*flow
	broken         chan struct{} // closed by reset
	once           sync.Once
}

func newLinkConn(client, server net.Conn, gates [2]*gate) *linkConn {
	c := &linkConn{client: client, server: server, broken: make(chan struct{})}
	c.flows[ToServer] = newFlow(c, client, server, gates[ToServer])
	c.flows[ToClient] = newFlow(c, server, client, gates[ToClient])
	return c
}

// run carries bytes until both directions have ended.
func (c *linkConn) run() {
	var flows sync.WaitGroup
	for d, f := range c.flows {
		flows.Go(f.read)
		flows.Go(func() {
			if f.deliver() || Direction(d) == ToClient {
				return
			}
			c.reset() // the server is gone: the client must see it
		})
	}
	flows.Wait()
	c.reset()
}

// reset breaks both sides and drops what is under way.
func (c *linkConn) reset() {
	c.once.Do(func() {
		close(c.broken)
		resetConn(c.client)
		resetConn(c.server)
	})
}

// flow carries one direction of one connection: read fills the queue, deliver empties it at the
// pace of the gate.
type flow struct {
	conn     *linkConn
	from, to net.Conn
	gate     *gate

	mu      sync.Mutex
	changed chan struct{} // closed and replaced when one of the following changes
	queue   []chunk
	pending int  // bytes taken from the sender and not delivered
	ended   bool // nothing will be put in the queue any more
}

type chunk struct {
	data []byte
	came time.Time
}

func newFlow(conn *linkConn, from, to net.Conn, g *gate) *flow {
	return &flow{conn: conn, from: from, to: to, gate: g, changed: make(chan struct{})}
}

func (f *flow) read() {
	defer f.end()
	buf := make([]byte, 32<<10)
	for {
		n, err := f.from.Read(buf)
		if n > 0 && !f.put(append([]byte(nil), buf[:n]...)) {
			return
		}
		if err != nil {
			return // its end, in order or not: what came before is still delivered
		}
	}
}

// put adds bytes to the queue and waits while it is full. It answers false when the flow has ended.
func (f *flow) put(data []byte) bool {
	for {
		f.mu.Lock()
		if f.ended {
			f.mu.Unlock()
			return false
		}
		if f.pending < maxPending {
			f.queue = append(f.queue, chunk{data, time.Now()})
			f.pending += len(data)
			f.change()
			f.mu.Unlock()
			return true
		}
		changed := f.changed
		f.mu.Unlock()
		select {
		case <-changed:
		case <-f.conn.broken:
			return false
		}
	}
}

// end closes the queue: deliver ends its side after what is in it.
func (f *flow) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	f.change()
}

// change wakes whoever waits for the queue; f.mu is held.
func (f *flow) change() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// take removes the first chunk of the queue; ok is false at the flow's end.
func (f *flow) take() (c chunk, ok bool) {
	for {
		f.mu.Lock()
		if len(f.queue) > 0 {
			c = f.queue[0]
			f.queue = f.queue[1:]
			f.mu.Unlock()
			return c, true
		}
		ended, changed := f.ended, f.changed
		f.mu.Unlock()
		if ended {
			return chunk{}, false
		}
		select {
		case <-changed:
		case <-f.conn.broken:
			return chunk{}, false
		}
	}
}

// deliver writes the queue to the other side and ends that side's input at the flow's end. It
// answers false when that side takes no more.
func (f *flow) deliver() bool {
	for {
		c, ok := f.take()
		if !ok {
			return f.closeWrite()
		}
		for len(c.data) > 0 {
			n := f.await(len(c.data), c.came)
			if n == 0 {
				return false
			}
			if _, err := f.to.Write(c.data[:n]); err != nil {
				f.end()
				return false
			}
			c.data = c.data[n:]
			f.delivered(n)
		}
	}
}

func (f *flow) inFlight() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.pending
}

func (f *flow) delivered(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pending -= n
	f.change()
}

func (f *flow) closeWrite() bool {
	if tcp, ok := f.to.(*net.TCPConn); ok {
		return tcp.CloseWrite() == nil
	}
	return true
}

// await waits until some of n bytes may go and says how many; 0 when the connection broke.
func (f *flow) await(n int, came time.Time) int {
	for {
		verdict, allowed, changed, left := f.gate.admit(n, came, time.Now())
		switch verdict {
		case pass:
			return allowed
		case sever:
			f.conn.reset()
			return 0
		}
		if !f.pause(changed, left) {
			return 0
		}
	}
}

// pause waits for a change of the gate or, when left is not 0, at most that long. It answers false
// when the connection broke.
func (f *flow) pause(changed <-chan struct{}, left time.Duration) bool {
	var due <-chan time.Time
	if left > 0 {
		timer := time.NewTimer(left)
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-changed:
	case <-due:
	case <-f.conn.broken:
		return false
	}
	return true
}

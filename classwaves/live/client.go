package live

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/time/rate"

	"github.com/classwaves/rekey/classwaves/keys"
	"github.com/classwaves/rekey/classwaves/unavailable"
)

// closing is how a connection is ended.
type closing struct {
	status websocket.StatusCode
	reason string
}

const goingAway = websocket.StatusGoingAway

// client is one connection.
type client struct {
	conn  *websocket.Conn
	queue chan []byte   // what is to be sent; nobody waits to put something in
	over  chan struct{} // closed when the connection is to end
	may   func(context.Context) error

	once sync.Once
	why  closing // set before over is closed
}

// end ends the connection, and answers whether it was going on; the first reason counts. It does not
// wait.
func (c *client) end(why closing) (first bool) {
	c.once.Do(func() {
		c.why = why
		close(c.over)
		first = true
	})
	return first
}

func (h *Hub) serve(w http.ResponseWriter, r *http.Request, sessionID string, onMessage func(context.Context, []byte) (any, error), may func(context.Context) error) error {
	channel, err := keys.Events(h.Environment, sessionID)
	if err != nil {
		http.Error(w, http.StatusText(http.StatusBadRequest), http.StatusBadRequest)
		return err
	}
	c := &client{queue: make(chan []byte, h.Queue), over: make(chan struct{}), may: may}
	if err := h.enter(channel, c); err != nil {
		h.counters.refused.Add(1)
		http.Error(w, http.StatusText(http.StatusServiceUnavailable), http.StatusServiceUnavailable)
		return err
	}
	defer h.work.Done()
	defer h.leave(channel, c)
	c.conn, err = websocket.Accept(w, r, &websocket.AcceptOptions{OriginPatterns: h.OriginPatterns})
	if err != nil {
		h.counters.refused.Add(1)
		return err // answered by Accept
	}
	h.counters.accepted.Add(1)
	c.conn.SetReadLimit(h.MaxMessage)
	return h.carry(context.WithoutCancel(r.Context()), c, onMessage)
}

// ErrFull says that the session or the process has as many connections as it may.
var ErrFull = errors.New("live: too many connections")

// enter puts a connection into its session's room.
func (h *Hub) enter(channel string, c *client) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return ErrClosed
	}
	if h.total >= h.MaxTotal || len(h.rooms[channel]) >= h.MaxPerSession {
		return ErrFull
	}
	if h.rooms[channel] == nil {
		h.rooms[channel] = make(map[*client]struct{})
	}
	h.rooms[channel][c] = struct{}{}
	h.total++
	h.work.Add(1) // under the lock: Close sets closed before it waits
	return nil
}

func (h *Hub) leave(channel string, c *client) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.rooms[channel], c)
	if len(h.rooms[channel]) == 0 {
		delete(h.rooms, channel)
	}
	h.total--
}

// carry serves a connection until it ends: one goroutine reads, one writes, one asks whether the
// client lives, and this one waits and closes.
func (h *Hub) carry(ctx context.Context, c *client, onMessage func(context.Context, []byte) (any, error)) error {
	ctx, cancel := context.WithCancel(ctx)
	var readErr error
	var work sync.WaitGroup
	written := make(chan struct{})
	work.Go(func() {
		readErr = h.read(ctx, c, onMessage)
		c.end(closing{}) // the connection is over already
	})
	work.Go(func() { defer close(written); h.write(ctx, c) })
	work.Go(func() { h.ping(ctx, c) })

	<-c.over
	if c.why.status == 0 {
		_ = c.conn.CloseNow() // nothing more can be said on it
	} else {
		// An event that is half written is written to its end, or the status could not follow.
		<-written
		_ = c.conn.Close(c.why.status, c.why.reason) // ends the connection in any case
	}
	cancel()
	work.Wait()
	h.counters.closed(c.why.status)
	switch websocket.CloseStatus(readErr) {
	case websocket.StatusNormalClosure, websocket.StatusGoingAway, websocket.StatusNoStatusRcvd:
		return nil
	}
	return c.outcome(readErr)
}

// outcome is what Serve says of an end that was not the client's own wish.
func (c *client) outcome(readErr error) error {
	switch c.why.status {
	case goingAway:
		return nil
	case 0:
		return readErr
	}
	return &EndError{Status: int(c.why.status), Reason: c.why.reason}
}

// write sends what is queued until the connection is to end.
func (h *Hub) write(ctx context.Context, c *client) {
	for {
		select {
		case <-c.over:
			return
		case data := <-c.queue:
			within, cancel := context.WithTimeout(ctx, h.WriteTimeout)
			err := c.conn.Write(within, websocket.MessageText, data)
			cancel()
			if err != nil {
				c.end(closing{})
				return
			}
			h.counters.delivered.Add(1)
		}
	}
}

// ping asks the client from time to time. The reading goroutine sees the answers.
func (h *Hub) ping(ctx context.Context, c *client) {
	ticker := time.NewTicker(h.Ping)
	defer ticker.Stop()
	for {
		select {
		case <-c.over:
			return
		case <-ticker.C:
		}
		within, cancel := context.WithTimeout(ctx, h.Ping)
		err := c.conn.Ping(within)
		cancel()
		if err != nil {
			if c.end(closing{}) { // else it ended while it was asked
				h.counters.dead.Add(1)
			}
			return
		}
		if c.may != nil && !h.stillMay(ctx, c) {
			c.end(closing{websocket.StatusPolicyViolation, "the login has ended"})
			return
		}
	}
}

// stillMay asks whether the client may go on listening. What is not known ends nothing.
func (h *Hub) stillMay(ctx context.Context, c *client) bool {
	within, cancel := context.WithTimeout(ctx, h.Ping)
	defer cancel()
	err := c.may(within)
	return err == nil || unavailable.Is(err) || ctx.Err() != nil
}

// read gives the client's messages to onMessage until the connection ends.
func (h *Hub) read(ctx context.Context, c *client, onMessage func(context.Context, []byte) (any, error)) error {
	limit := rate.NewLimiter(rate.Limit(h.MessageRate), h.MessageBurst)
	for {
		kind, msg, err := c.conn.Read(ctx)
		if err != nil {
			return err
		}
		h.counters.received.Add(1)
		switch {
		case onMessage == nil:
			c.end(closing{websocket.StatusPolicyViolation, "no messages are taken here"})
		case !limit.Allow():
			if c.end(closing{websocket.StatusPolicyViolation, "too many messages"}) {
				h.counters.flooded.Add(1)
			}
		case kind != websocket.MessageText:
			c.end(closing{websocket.StatusUnsupportedData, "messages are text"})
		default:
			h.handle(ctx, c, msg, onMessage)
			continue
		}
		return nil
	}
}

// handle answers one message.
func (h *Hub) handle(ctx context.Context, c *client, msg []byte, onMessage func(context.Context, []byte) (any, error)) {
	within, cancel := context.WithTimeout(ctx, h.MessageTimeout)
	defer cancel()
	reply, err := onMessage(within, msg)
	kind := kindReply
	if err != nil {
		kind, reply = kindError, h.explain(err)
	} else if reply == nil {
		return
	}
	data, err := encode(kind, reply, h.MaxEvent)
	if err != nil {
		h.Logger.Error("live: a reply could not be encoded", "error", err)
		data, _ = encode(kindError, &Error{Code: codeInternal}, h.MaxEvent) // a constant
	}
	h.give(c, data)
}

// give queues data for a connection, or cuts it off.
func (h *Hub) give(c *client, data []byte) {
	select {
	case c.queue <- data:
	default:
		if c.end(closing{websocket.StatusPolicyViolation, "reads too slowly"}) {
			h.counters.slow.Add(1)
		}
	}
}

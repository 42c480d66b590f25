package live

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// firstPause is how long the first pause after a loss is; each is twice as long as the one before.
const firstPause = 20 * time.Millisecond

// subscription is the connection to Redis that is open now, so that Close can end a read on it.
type subscription struct {
	mu     sync.Mutex
	now    *redis.PubSub
	closed bool
}

// open keeps a subscription; false when there are to be no more.
func (s *subscription) open(ps *redis.PubSub) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.now = ps
	return true
}

func (s *subscription) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.now != nil {
		_ = s.now.Close() // the reader of it sees the end
	}
}

// follow hears the events of the environment until the hub is closed.
func (h *Hub) follow() {
	lost := false
	pause := firstPause
	for h.ctx.Err() == nil {
		err := h.listen(func() {
			pause = firstPause
			if lost {
				lost = false
				h.counters.resubscribed.Add(1)
				h.Logger.Info("live: the subscription is back")
				h.resync()
				return
			}
			close(h.ready)
		})
		if h.ctx.Err() != nil {
			return
		}
		if !lost {
			select {
			case <-h.ready: // it stood
				h.counters.lost.Add(1)
				h.Logger.Warn("live: the subscription is lost; events of other processes are not heard", "error", err)
				lost = true
			default:
				h.Logger.Debug("live: no subscription yet", "error", err)
			}
		}
		timer := time.NewTimer(pause/2 + rand.N(pause/2))
		select {
		case <-timer.C:
		case <-h.ctx.Done():
			timer.Stop()
			return
		}
		pause = min(2*pause, h.Retry)
	}
}

var errSilent = errors.New("the server does not answer")

// listen subscribes, calls stands when the server has confirmed it, and delivers what comes until
// the connection fails.
func (h *Hub) listen(stands func()) error {
	ps := h.Redis.PSubscribe(h.ctx, h.pattern)
	defer func() { _ = ps.Close() }() // read side, nothing buffered
	if !h.sub.open(ps) {
		return ErrClosed
	}
	asked := false
	for {
		msg, err := ps.ReceiveTimeout(h.ctx, h.Silence)
		var timeout net.Error
		switch {
		case err == nil:
			asked = false
		case errors.As(err, &timeout) && timeout.Timeout() && !asked:
			asked = true
			if err := ps.Ping(h.ctx); err != nil {
				return fmt.Errorf("ask the server: %w", err)
			}
			continue
		case errors.As(err, &timeout) && timeout.Timeout():
			return errSilent
		default:
			return fmt.Errorf("receive: %w", err)
		}
		switch msg := msg.(type) {
		case *redis.Subscription:
			stands()
		case *redis.Message:
			h.counters.heard.Add(1)
			h.deliver(msg.Channel, []byte(msg.Payload))
		}
	}
}

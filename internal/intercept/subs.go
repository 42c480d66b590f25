package intercept

import (
	"bytes"

	"github.com/classwaves/rekey/internal/resp"
)

// subscriptions is how many channels of each kind a connection listens to. Channels
// are no keys: their names pass as they are.
type subscriptions struct{ channels, patterns, shards int64 }

func (n subscriptions) any() bool { return n.channels+n.patterns+n.shards > 0 }

func (n *subscriptions) of(name string) *int64 {
	switch name {
	case "subscribe", "unsubscribe":
		return &n.channels
	case "psubscribe", "punsubscribe":
		return &n.patterns
	default:
		return &n.shards
	}
}

// subscribe handles the commands whose confirmations, one a channel, take the place of
// a reply. In RESP3 these are pushes.
func (s *Session) subscribe(name string, raw []byte, args [][]byte) {
	e := s.push(kindSubs)
	e.pattern = []byte(name)
	e.count = len(args) - 1 // 0: all of its kind, known when their turn has come
	e.mute = false          // CLIENT REPLY does not silence what is pushed
	s.forward(raw)
}

// confirmed takes one confirmation.
func (s *Session) confirmed(e *entry) {
	if e.count--; e.count <= 0 {
		s.done()
	}
}

// outOfBand takes what does not answer a command: pushes of RESP3, messages of RESP2,
// lines of MONITOR. mine is set where the value at the start of b is such; took is 0
// while that cannot be told.
func (s *Session) outOfBand(b []byte) (took int, mine bool) {
	switch {
	case b[0] == '>':
		return s.push3(b), true
	case b[0] == '*' && s.proto == 2 && (s.subs.any() || s.confirming()):
		return s.message2(b)
	case b[0] == '+' && s.monitoring && len(b) > 1:
		if '0' <= b[1] && b[1] <= '9' {
			return s.begin(b, sinkClient, false, endNothing, nil), true
		}
	case b[0] == '+' && s.monitoring:
		return 0, true
	}
	return 0, false
}

// confirming says that the server's next value may be a confirmation.
func (s *Session) confirming() bool {
	e := s.q.front()
	return e != nil && e.kind == kindSubs
}

// kindOf reads the first word of an aggregate at the start of b, and how many elements
// it has; ok is false while it is not all there.
func kindOf(b []byte) (word []byte, elements int64, ok bool, err error) {
	h, n, err := resp.ReadHeader(b)
	if err != nil || n == 0 {
		return nil, 0, false, err
	}
	if h.N < 1 || n == len(b) {
		return nil, h.N, h.N < 1, nil
	}
	if b[n] != '$' {
		return nil, h.N, true, nil
	}
	w, m, err := resp.ReadHeader(b[n:])
	if err != nil || m == 0 {
		return nil, h.N, false, err
	}
	start := n + m
	if w.N < 0 || w.N > maxKindWord {
		return nil, h.N, true, nil
	}
	if len(b) < start+int(w.N) {
		return nil, h.N, false, nil
	}
	return b[start : start+int(w.N)], h.N, true, nil
}

// maxKindWord bounds the words that say what a push is; they are all shorter.
const maxKindWord = 64

// push3 takes a push of RESP3.
func (s *Session) push3(b []byte) int {
	word, _, ok, err := kindOf(b)
	if err != nil {
		return s.fail(err)
	}
	if !ok {
		return 0
	}
	switch string(word) {
	case "invalidate":
		return s.beginFunc(b, sinkHold, true, func() { s.invalidated(s.takeHold()) })
	case "subscribe", "unsubscribe", "psubscribe", "punsubscribe", "ssubscribe", "sunsubscribe":
		return s.confirmation(b)
	}
	return s.begin(b, sinkClient, false, endNothing, nil)
}

// message2 tells a message of RESP2 from a reply: nothing but its first word does.
func (s *Session) message2(b []byte) (took int, mine bool) {
	word, elements, ok, err := kindOf(b)
	if err != nil {
		return s.fail(err), true
	}
	if !ok {
		return 0, true
	}
	switch string(word) {
	case "message", "smessage":
		if elements != 3 || !s.subs.any() {
			break
		}
		if n := min(len(b), len(invalidation2)); string(b[:n]) == invalidation2[:n] {
			if n < len(invalidation2) {
				return 0, true
			}
			return s.beginFunc(b, sinkHold, true, func() { s.invalidated2(s.takeHold()) }), true
		}
		return s.begin(b, sinkClient, false, endNothing, nil), true
	case "pmessage":
		if elements == 4 && s.subs.any() {
			return s.begin(b, sinkClient, false, endNothing, nil), true
		}
	case "subscribe", "unsubscribe", "psubscribe", "punsubscribe", "ssubscribe", "sunsubscribe":
		if elements == 3 {
			return s.confirmation(b), true
		}
	}
	return 0, false
}

// confirmation takes "kind, channel, number of subscriptions left".
func (s *Session) confirmation(b []byte) int {
	return s.beginFunc(b, sinkHold, true, func() {
		reply := s.takeHold()
		s.emit(reply, false)
		v, _, err := resp.Parse(reply)
		if err != nil || len(v.Elems) != 3 {
			return
		}
		kind := string(v.Elems[0].Str)
		n := s.subs.of(kind)
		before := s.subs
		*n = max(0, v.Elems[2].Int-s.others(kind))
		e := s.q.front()
		if e == nil || e.kind != kindSubs || !bytes.Equal(e.pattern, []byte(kind)) {
			return
		}
		if e.count == 0 { // all of a kind: one confirmation each, one at least
			e.count = int(max(1, *before.of(kind)))
		}
		s.confirmed(e)
	})
}

// others is how many subscriptions of other kinds the server counts in the same
// number: channels and patterns share one, shard channels have their own.
func (s *Session) others(kind string) int64 {
	switch kind {
	case "subscribe", "unsubscribe":
		return s.subs.patterns
	case "psubscribe", "punsubscribe":
		return s.subs.channels
	}
	return 0
}

// invalidation2 begins a message that tells a connection of RESP2 of invalidations, for
// another one that redirects them to it.
const invalidation2 = "*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n"

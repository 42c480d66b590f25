package load

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// listener is a WebSocket of a class session, and what was heard on it.
type listener struct {
	g       *Generator
	c       *class
	conn    *websocket.Conn
	replies chan reply    // to what was sent, in its order
	over    chan struct{} // closed when the connection has ended

	mu      sync.Mutex
	peaks   peaks
	states  []string      // heard, in their order
	resyncs int           // how often the server said that something may be missing
	changed chan struct{} // closed when something is heard
}

// reply is the server's word to this connection alone.
type reply struct {
	text string
}

// maxReplies bounds what waits to be looked at; more than is ever sent before a fence.
const maxReplies = 64

// listen opens a WebSocket of a class session. Where the server refuses, the answer says how.
func (g *Generator) listen(ctx context.Context, b *browser, c *class) (*listener, answer) {
	const op = "open socket"
	b.spend()
	begin := time.Now()
	conn, response, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(g.c.URL, "http")+"/api/v1/live/"+c.id,
		&websocket.DialOptions{HTTPClient: b.http, HTTPHeader: b.header()})
	if err != nil {
		a := answer{err: err}
		if response != nil && response.StatusCode != http.StatusSwitchingProtocols {
			a = b.read(response)
		}
		return nil, a
	}
	g.record.done(op, time.Since(begin))
	conn.SetReadLimit(1 << 20)
	l := &listener{g: g, c: c, conn: conn, replies: make(chan reply, maxReplies), over: make(chan struct{}), changed: make(chan struct{})}
	c.opened(l)
	go l.read(ctx)
	return l, answer{status: http.StatusSwitchingProtocols}
}

// read hears until the connection ends.
func (l *listener) read(ctx context.Context) {
	defer close(l.over)
	defer l.c.closed(l)
	defer l.conn.CloseNow() // whoever ended it: a half of a connection that nobody closes would stay
	for {
		_, data, err := l.conn.Read(ctx)
		if err != nil {
			return
		}
		l.hear(data)
	}
}

// hear takes one message.
func (l *listener) hear(data []byte) {
	var m struct {
		Kind    string          `json:"kind"`
		Payload json.RawMessage `json:"payload"`
	}
	if err := json.Unmarshal(data, &m); err != nil {
		l.g.record.violate(Unexpected, "socket: a message that is no JSON")
		return
	}
	switch m.Kind {
	case "metrics":
		var f figures
		if err := json.Unmarshal(m.Payload, &f); err != nil {
			l.g.record.violate(Unexpected, "socket: metrics that cannot be read")
			return
		}
		l.heard(f)
	case "state":
		var s struct {
			State string `json:"state"`
		}
		if err := json.Unmarshal(m.Payload, &s); err != nil {
			l.g.record.violate(Unexpected, "socket: a state that cannot be read")
			return
		}
		l.note(func() { l.states = append(l.states, s.State) })
	case "resync":
		l.g.record.count(func(r *Report) { r.Resyncs++ })
		l.note(func() { l.resyncs++ })
	case "reply", "error":
		select {
		case l.replies <- reply{string(m.Payload)}:
		default:
			l.g.record.violate(Unexpected, "socket: more replies than messages")
		}
	default:
		l.g.record.violate(Unexpected, "socket: an event of a kind that there is not")
	}
}

// heard judges figures.
func (l *listener) heard(f figures) {
	if f.SessionID != l.c.id {
		l.g.record.violate(ForeignSession, "socket: figures of another class session")
		return
	}
	l.c.saw(f.Version)
	if l.c.seen.differ(f) && !l.g.c.Faults {
		l.g.record.violate(Miscounted, "socket: two different figures of one version")
	}
	var late, back bool
	l.note(func() { late, back = l.peaks.heard(f.Version, time.Now()) })
	switch {
	case back && !l.g.c.Faults:
		l.g.record.violate(WentBack, "socket: a version lower than one heard long before")
	case late:
		l.g.record.count(func(r *Report) { r.Reordered++ })
	}
}

// note changes what was heard and wakes those who wait.
func (l *listener) note(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
	close(l.changed)
	l.changed = make(chan struct{})
}

// await waits until something was heard; false when it was not within the patience. A server that says
// that it may have missed events, and a connection that has ended, are waited for no longer.
func (l *listener) await(ctx context.Context, heard func() bool) bool {
	timer := time.NewTimer(l.g.c.Patience)
	defer timer.Stop()
	l.mu.Lock()
	resyncs := l.resyncs
	l.mu.Unlock()
	for {
		l.mu.Lock()
		done, changed := heard() || l.resyncs != resyncs, l.changed
		l.mu.Unlock()
		if done {
			return true
		}
		select {
		case <-changed:
		case <-l.over:
			return true
		case <-ctx.Done():
			return true
		case <-timer.C:
			return false
		}
	}
}

// version is the highest that was heard.
func (l *listener) version() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.peaks.version
}

// stateCount is how many states were heard.
func (l *listener) stateCount() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.states)
}

// ended says whether the connection is over.
func (l *listener) ended() bool {
	select {
	case <-l.over:
		return true
	default:
		return false
	}
}

// message is what a participant says.
type message struct {
	Kind  string  `json:"kind"`
	Value float64 `json:"value"`
}

// fence is of a kind that there is not. The server answers it, and does so after what came before.
var fence = message{Kind: "fence"}

// errEnded is a connection that ended before it was known what became of a message.
var errEnded = errors.New("the connection has ended")

// learn finds out how the server answers a fence.
func (l *listener) learn(ctx context.Context) (string, error) {
	if err := l.write(ctx, fence); err != nil {
		return "", err
	}
	return l.reply(ctx)
}

// say sends a message and waits until the server has dealt with it. refused says that it did not count.
func (l *listener) say(ctx context.Context, m message, fenced string) (refused bool, err error) {
	begin := time.Now()
	for _, m := range []message{m, fence} {
		if err := l.write(ctx, m); err != nil {
			return false, err
		}
	}
	text, err := l.reply(ctx)
	if err == nil && text != fenced {
		refused = true
		_, err = l.reply(ctx)
	}
	if err == nil {
		l.g.record.done("say "+m.Kind, time.Since(begin))
	}
	return refused, err
}

func (l *listener) write(ctx context.Context, m message) error {
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return l.conn.Write(ctx, websocket.MessageText, data)
}

func (l *listener) reply(ctx context.Context) (string, error) {
	timer := time.NewTimer(requestTimeout)
	defer timer.Stop()
	select {
	case r := <-l.replies:
		return r.text, nil
	case <-l.over:
		select {
		case r := <-l.replies:
			return r.text, nil
		default:
			return "", errEnded
		}
	case <-ctx.Done():
		return "", ctx.Err()
	case <-timer.C:
		return "", errEnded
	}
}

// close ends the connection, in order or as a browser that crashes.
func (l *listener) close(inOrder bool) {
	if inOrder {
		_ = l.conn.Close(websocket.StatusNormalClosure, "") // ends it in any case
	} else {
		_ = l.conn.CloseNow()
	}
	<-l.over
}

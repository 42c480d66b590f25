package redistest

import (
	"errors"
	"net"
	"sync"
	"testing"
)

// A Direction is one of the two ways of a [Link].
type Direction uint8

// The two directions.
const (
	ToServer Direction = iota
	ToClient
)

func (d Direction) String() string {
	if d == ToServer {
		return "to server"
	}
	return "to client"
}

// A Link is a loopback network between clients and one server, for the faults that a real network
// has: delay, bytes that hang, bytes that come after their socket was closed, connections that
// break in the middle of a reply. What is set holds for all connections of the link, at once.
//
// As in a real network, bytes that a client sent before it closed its socket are still delivered:
// stall [ToServer], close the client, resume, and the server acts on a command of a client that
// is long gone.
type Link struct {
	t        testing.TB
	listener net.Listener
	gates    [2]*gate
	workers  sync.WaitGroup

	mu      sync.Mutex
	target  string
	conns   map[*linkConn]struct{}
	refuse  bool
	closing bool
}

// SlowLink opens a link to the server at the given address; it closes with the test.
func SlowLink(t testing.TB, server string) *Link {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("redistest: %v", err)
	}
	l := &Link{
		t: t, listener: listener, target: server,
		gates: [2]*gate{newGate(), newGate()},
		conns: make(map[*linkConn]struct{}),
	}
	l.workers.Go(l.accept)
	t.Cleanup(l.close)
	return l
}

// Addr is the address to dial in place of the server's.
func (l *Link) Addr() string { return l.listener.Addr().String() }

// Dial opens a bare connection through the link, which is closed at the end of the test.
func (l *Link) Dial() net.Conn {
	l.t.Helper()
	return dial(l.t, "tcp", l.Addr())
}

// Conn opens a connection for transcripts through the link.
func (l *Link) Conn() *Conn {
	l.t.Helper()
	return NewConn(l.t, l.Dial())
}

// Conns is how many connections the link carries; one whose client is gone counts as long as it
// may still deliver something.
func (l *Link) Conns() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.conns)
}

// Pending is how many bytes of a direction are under way: taken from the sender, not delivered.
// The other side may act on bytes a moment before they cease to count, so wait for a number and
// not for "some".
func (l *Link) Pending(d Direction) int {
	n := 0
	for _, c := range l.open() {
		n += c.flows[d].inFlight()
	}
	return n
}

// Cut breaks all connections in both directions at once, with a reset, and drops what was under way.
func (l *Link) Cut() {
	for _, c := range l.open() {
		c.reset()
	}
}

// CutClients breaks all connections towards the clients with a reset. Bytes that the clients sent
// stay under way, and the server learns of the end only after them.
func (l *Link) CutClients() {
	for _, c := range l.open() {
		resetConn(c.client)
	}
}

// CloseWrite ends one direction in order (FIN) on all connections, after the bytes under way; the
// other direction goes on.
func (l *Link) CloseWrite(d Direction) {
	for _, c := range l.open() {
		c.flows[d].end()
	}
}

// Refuse makes the link close each new connection at once, as a host without a server does, until
// Accept.
func (l *Link) Refuse() { l.setRefuse(true) }

// Accept ends a Refuse.
func (l *Link) Accept() { l.setRefuse(false) }

// Redirect makes new connections lead to another server, as an address does that moves to the replica which is
// promoted. Open ones stay where they are.
func (l *Link) Redirect(server string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.target = server
}

func (l *Link) setRefuse(refuse bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refuse = refuse
}

func (l *Link) open() []*linkConn {
	l.mu.Lock()
	defer l.mu.Unlock()
	conns := make([]*linkConn, 0, len(l.conns))
	for c := range l.conns {
		conns = append(conns, c)
	}
	return conns
}

func (l *Link) accept() {
	for {
		client, err := l.listener.Accept()
		if err != nil {
			return // closed at the end of the test
		}
		l.workers.Go(func() { l.carry(client) })
	}
}

// carry runs one connection to its end.
func (l *Link) carry(client net.Conn) {
	l.mu.Lock()
	refused, target := l.refuse || l.closing, l.target
	l.mu.Unlock()
	if refused {
		resetConn(client)
		return
	}
	server, err := net.Dial("tcp", target)
	if err != nil {
		resetConn(client) // the client sees a broken connection, as without a link
		return
	}
	c := newLinkConn(client, server, l.gates)
	l.mu.Lock()
	late := l.closing || l.refuse // since the look before the dial
	l.conns[c] = struct{}{}
	l.mu.Unlock()
	if late {
		c.reset()
	}
	c.run()
	l.mu.Lock()
	delete(l.conns, c)
	l.mu.Unlock()
}

func (l *Link) close() {
	l.mu.Lock()
	l.closing = true
	l.mu.Unlock()
	if err := l.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		l.t.Errorf("redistest: close the link: %v", err)
	}
	for _, c := range l.open() {
		c.reset()
	}
	l.workers.Wait()
}

// resetConn closes a connection with a reset in place of an orderly end.
func resetConn(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // a connection that is closed already needs none
	}
	_ = conn.Close() // and may be closed again
}

package proxy

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2"
)

// handle is a connection that an event loop may have for a while. Whoever closes it need not know.
type handle struct {
	local, remote net.Addr

	mu     sync.Mutex
	conn   net.Conn  // nil: a loop has it
	in     gnet.Conn // of the loop; nil while it is on its way there
	closed bool
	came   atomic.Int64 // when bytes were read last
}

var _ net.Conn = (*handle)(nil)

var errInLoop = errors.New("proxy: an event loop reads and writes this connection")

func newHandle(conn net.Conn) *handle {
	return &handle{conn: conn, local: conn.LocalAddr(), remote: conn.RemoteAddr()}
}

// tcp is the connection, if a loop can have it.
func (h *handle) tcp() (*net.TCPConn, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	conn, ok := h.conn.(*net.TCPConn)
	return conn, ok && !h.closed
}

// enters notes that a loop has the connection.
func (h *handle) enters(in gnet.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.conn, h.in = nil, in
	if h.closed {
		_ = in.Close() // meanwhile; the loop is told
	}
}

// leaves takes the connection out of a loop that is about to close its own descriptor of it. It is called by
// the loop.
func (h *handle) leaves(in gnet.Conn) error {
	fd, err := in.Dup()
	if err != nil {
		return err
	}
	file := os.NewFile(uintptr(fd), "")
	defer func() { _ = file.Close() }() // FileConn has its own
	conn, err := net.FileConn(file)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.conn, h.in = conn, nil
	if h.closed {
		_ = conn.Close() // meanwhile; whoever reads is told
	}
	return nil
}

// out is the connection outside of a loop.
func (h *handle) out() (net.Conn, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.conn != nil:
		return h.conn, nil
	case h.closed:
		return nil, net.ErrClosed
	}
	return nil, errInLoop
}

// Read implements [net.Conn], outside of a loop.
func (h *handle) Read(p []byte) (int, error) {
	conn, err := h.out()
	if err != nil {
		return 0, err
	}
	n, err := conn.Read(p)
	h.came.Store(time.Now().UnixNano())
	return n, err
}

// Write implements [net.Conn], outside of a loop.
func (h *handle) Write(p []byte) (int, error) {
	conn, err := h.out()
	if err != nil {
		return 0, err
	}
	return conn.Write(p)
}

// Close implements [net.Conn].
func (h *handle) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	switch {
	case h.conn != nil:
		return h.conn.Close()
	case h.in != nil:
		return h.in.Close()
	}
	return nil
}

// CloseWrite closes our half.
func (h *handle) CloseWrite() error {
	conn, err := h.out()
	if err != nil {
		return err
	}
	return closeWrite(conn)
}

// LocalAddr implements [net.Conn].
func (h *handle) LocalAddr() net.Addr { return h.local }

// RemoteAddr implements [net.Conn].
func (h *handle) RemoteAddr() net.Addr { return h.remote }

// SetDeadline implements [net.Conn]. In a loop there are no deadlines.
func (h *handle) SetDeadline(t time.Time) error {
	return errors.Join(h.SetReadDeadline(t), h.SetWriteDeadline(t))
}

// SetReadDeadline implements [net.Conn].
func (h *handle) SetReadDeadline(t time.Time) error {
	conn, err := h.out()
	if err != nil {
		return err
	}
	return conn.SetReadDeadline(t)
}

// SetWriteDeadline implements [net.Conn].
func (h *handle) SetWriteDeadline(t time.Time) error {
	conn, err := h.out()
	if err != nil {
		return err
	}
	return conn.SetWriteDeadline(t)
}

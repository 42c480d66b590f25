package intercept

import (
	"net"
	"syscall"
)

// fileConn is a Conn over a connection with a file descriptor, for clients that look at an
// idle connection before they use it again (go-redis does): a server that has closed it, or
// bytes that nobody asked for, show there as on a bare connection.
type fileConn struct {
	*Conn
	file syscall.Conn
}

// SyscallConn gives access to the file descriptor under the connection.
func (c fileConn) SyscallConn() (syscall.RawConn, error) { return c.file.SyscallConn() }

// Net is the connection as its client is to see it.
func (c *Conn) Net() net.Conn {
	if file, ok := c.Conn.(syscall.Conn); ok {
		return fileConn{c, file}
	}
	return c
}

// Engine is the connection itself, under whatever its client sees of it.
func (c *Conn) Engine() *Conn { return c }

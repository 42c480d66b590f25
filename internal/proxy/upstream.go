package proxy

import (
	"net"
	"sync/atomic"
	"time"

	"github.com/classwaves/rekey/internal/intercept"
)

// stamped notes when bytes of the server came, so that what the engine does with them counts as
// added time too.
type stamped struct {
	net.Conn
	came atomic.Int64
}

// Stamped makes a connection to the server tell when its bytes came. [Proxy] expects it below the
// upstream connections that it gets.
func Stamped(conn net.Conn) net.Conn { return &stamped{Conn: conn} }

func (s *stamped) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	s.came.Store(time.Now().UnixNano())
	return n, err
}

// since is how long ago the server's last bytes came.
func since(up *intercept.Conn) time.Duration {
	s, ok := up.Conn.(*stamped)
	if !ok {
		return 0
	}
	return time.Duration(time.Now().UnixNano() - s.came.Load())
}

package sweep

import (
	"context"
	"errors"
	"net"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/resp"
)

// wire is one connection of a link that carries pages: the commands of a page are sent in one write, and their answers are
// read in place, one after the other, without a value made of each. It may carry a page more before the answers of the one
// before were read; they come in the order of the commands.
//
// The client makes the connection, with all that its options say (TLS, user and password, database, what is done with a new
// connection), and then leaves it alone: conn is what its dialer gave, and pinned keeps it out of the client's pool.
type wire struct {
	client  *redis.Client // of this connection alone
	pinned  *redis.Conn
	conn    net.Conn
	timeout time.Duration
	waits   *waits
	ready   bool // all that is done with a new connection was done

	out   []byte
	in    []byte // in[r:w] was received and not read yet
	r, w  int
	owing int // commands whose answers are still to be read
}

// wireBytes is how much of the answers is received at once, at least.
const wireBytes = 64 << 10

// newWire makes a wire with the options of a link.
func newWire(o redis.Options, noted *waits) *wire {
	w := &wire{timeout: o.ReadTimeout, waits: noted, in: make([]byte, wireBytes)}
	dial := o.Dialer
	o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		w.conn = conn
		return conn, err
	}
	admit := o.OnConnect
	o.OnConnect = func(ctx context.Context, conn *redis.Conn) error {
		err := admit(ctx, conn)
		w.ready = err == nil
		return err
	}
	o.PoolSize, o.MaxRetries = 1, -1
	w.client = redis.NewClient(&o)
	w.pinned = w.client.Conn()
	return w
}

// open makes the connection. It may be closed meanwhile.
func (w *wire) open(ctx context.Context) error {
	defer w.waits.begin()()
	// Any command makes the connection. What the server says to this one does not matter, but to those that come before it.
	if err := w.pinned.Ping(ctx).Err(); err != nil && (!w.ready || code(err) == "") {
		return serverError("PING", err)
	}
	return nil
}

// close may be called while another goroutine waits for an answer, which then gets the error.
func (w *wire) close() error { return w.client.Close() }

// send sends commands, without waiting for an answer.
func (w *wire) send(commands []command) error {
	w.out = w.out[:0]
	for _, c := range commands {
		w.out = c.append(w.out)
	}
	w.owing += len(commands)
	if err := w.conn.SetDeadline(time.Now().Add(w.timeout)); err != nil {
		return serverError(commands[0].name(), err)
	}
	over := w.waits.begin()
	_, err := w.conn.Write(w.out)
	over()
	return serverError(commands[0].name(), err)
}

// each reads the answers to commands, all of them: what take returns first is returned at the end, and then it is called no more.
func (w *wire) each(commands []command, take func(i int, a answer) error) error {
	var first error
	for i, c := range commands {
		a, err := w.receive()
		if err != nil {
			return serverError(c.name(), err)
		}
		if first == nil {
			first = take(i, a)
		}
	}
	return first
}

// answer is one answer. A missing value and a missing key are null, with a number of 0 as in [integer].
type answer struct {
	n    int64
	text []byte // until the next answer is read
	null bool
	err  error // what the server refused the command with
}

// refusal is an error of the server, as the client's own are.
type refusal string

func (r refusal) Error() string { return string(r) }

// RedisError marks it as one of the server's.
func (refusal) RedisError() {}

var _ redis.Error = refusal("")

// receive reads the next answer: a number, a string, or an error of the server. The error returned is one of the connection.
func (w *wire) receive() (a answer, err error) {
	h, err := w.header()
	if err != nil {
		return a, err
	}
	w.owing--
	switch h.Type {
	case ':':
		a.n = h.N
	case '+':
		a.text = h.Line
	case '-':
		a.err = refusal(h.Line)
	case '$':
		if a.null = h.N < 0; !a.null {
			a.text, err = w.bulk(int(h.N))
		}
	default:
		err = errors.New("unexpected answer")
	}
	return a, err
}

func (w *wire) header() (resp.Header, error) {
	for {
		h, n, err := resp.ReadHeader(w.in[w.r:w.w])
		if w.r += n; err != nil || n > 0 {
			return h, err
		}
		if err := w.fill(1); err != nil {
			return h, err
		}
	}
}

// bulk reads n bytes and the end of their line.
func (w *wire) bulk(n int) ([]byte, error) {
	for w.w-w.r < n+2 {
		if err := w.fill(n + 2); err != nil {
			return nil, err
		}
	}
	text := w.in[w.r : w.r+n : w.r+n]
	w.r += n + 2
	return text, nil
}

// fill receives more, into a buffer that has room for need bytes that are not read yet.
func (w *wire) fill(need int) error {
	w.w = copy(w.in, w.in[w.r:w.w])
	w.r = 0
	if need = max(need, w.w+1); need > len(w.in) {
		w.in = append(w.in, make([]byte, need-len(w.in))...)
	}
	over := w.waits.begin()
	n, err := w.conn.Read(w.in[w.w:])
	over()
	w.w += n
	if n > 0 {
		return nil // an error comes again
	}
	return err
}

// append writes a command as the server reads it.
func (c command) append(dst []byte) []byte {
	dst = resp.AppendArrayHeader(dst, len(c))
	for _, word := range c {
		switch word := word.(type) {
		case string:
			dst = resp.AppendBulkString(dst, word)
		case int:
			dst = resp.AppendBulkString(dst, strconv.Itoa(word))
		case int64:
			dst = resp.AppendBulkString(dst, strconv.FormatInt(word, 10))
		default:
			panic("sweep: a word of a command is neither a string nor a number")
		}
	}
	return dst
}

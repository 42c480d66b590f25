package rekey

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/classwaves/rekey/internal/resp"
)

// sideTimeout bounds what another connection of the same user is asked to do.
const sideTimeout = 5 * time.Second

// onSide runs one command on another connection to the same server, as the same user.
func onSide(ctx context.Context, open opener, login []byte, words ...string) (resp.Value, error) {
	ctx, cancel := context.WithTimeout(ctx, sideTimeout)
	defer cancel()
	conn, err := open(ctx)
	if err != nil {
		return resp.Value{}, fmt.Errorf("open a connection for %s %s: %w", words[0], words[1], err)
	}
	defer func() { _ = conn.Close() }() // the reply was read, or there is a better error
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	reader := bufio.NewReader(conn)
	if login != nil {
		if v, err := roundTrip(conn, reader, login); err != nil {
			return v, fmt.Errorf("log in for %s %s: %w", words[0], words[1], err)
		}
	}
	args := make([][]byte, len(words))
	for i, w := range words {
		args[i] = []byte(w)
	}
	v, err := roundTrip(conn, reader, resp.AppendCommand(nil, args...))
	if err != nil {
		return v, fmt.Errorf("%s %s: %w", words[0], words[1], err)
	}
	return v, nil
}

// refusal is an error that the server replied with.
type refusal string

func (r refusal) Error() string { return string(r) }

// roundTrip sends a command and reads its reply. An error reply is an error.
func roundTrip(conn net.Conn, reader *bufio.Reader, request []byte) (resp.Value, error) {
	if _, err := conn.Write(request); err != nil {
		return resp.Value{}, err
	}
	var reply []byte
	var skip resp.Skipper
	for {
		b, err := reader.ReadByte()
		if err != nil {
			return resp.Value{}, err
		}
		reply = append(reply, b)
		_, done, err := skip.Skip(reply[len(reply)-1:])
		if err != nil {
			return resp.Value{}, err
		}
		if !done {
			continue
		}
		v, _, err := resp.Parse(reply)
		if err == nil && v.Type == '-' {
			err = refusal(v.Str)
		}
		return v, err
	}
}

// unblock ends what the server waits for on a connection, so that its command goes on under the
// phases of now (TIMEOUT) or its client is told (ERROR). ended is false when the server did not wait.
func unblock(ctx context.Context, open opener, login []byte, id int64, how string) (ended bool, err error) {
	v, err := onSide(ctx, open, login, "CLIENT", "UNBLOCK", strconv.FormatInt(id, 10), how)
	return v.Int == 1, err
}

// errUnnamed is a connection that was closed and that the server never gave a name for.
var errUnnamed = errors.New("the server does not tell the CLIENT ID of a closed connection " +
	"(its user needs +client|id and +client|kill)")

// lasting says that a closed connection cannot be cut off later either: the server does not let its user, or tells no name for
// it. A server that is not there now, or does not take commands yet, will be.
func lasting(err error) bool {
	var said refusal
	return errors.Is(err, errUnnamed) || errors.As(err, &said) && !strings.HasPrefix(string(said), "LOADING") && !strings.HasPrefix(string(said), "BUSY")
}

// cutOff makes sure that a closed connection runs nothing any more. That the server knows no such
// client is as good as that it closed it; without a CLIENT ID only that it did is.
func (s *strayConn) cutOff(ctx context.Context) error {
	words := []string{"CLIENT", "KILL", "ID", strconv.FormatInt(s.id, 10)}
	if s.id == 0 {
		words = []string{"CLIENT", "KILL", "ADDR", s.addr}
	}
	v, err := onSide(ctx, s.open, s.login, words...)
	switch {
	case err != nil:
		return err
	case v.Type != ':':
		return errors.New("CLIENT KILL: unexpected reply")
	case s.id == 0 && v.Int == 0:
		return errUnnamed
	}
	return nil
}

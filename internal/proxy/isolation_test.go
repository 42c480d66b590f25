package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/internal/proxy"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

// hammerRounds is how many pipelines each client of TestSharedIsolation sends; a longer run sets
// REKEY_HAMMER_ROUNDS.
func hammerRounds() int {
	if n, err := strconv.Atoi(os.Getenv("REKEY_HAMMER_ROUNDS")); err == nil {
		return n
	}
	return 40
}

// TestSharedIsolation: many clients at once, each with keys and values that only it has, plain commands mixed
// with everything that needs a connection of one's own, with errors, big replies, ends in the middle of replies
// and garbage, while the phases walk. Every byte that a client gets is foretold.
func TestSharedIsolation(t *testing.T) { both(t, testSharedIsolation) }

func testSharedIsolation(t *testing.T) {
	source := rekey.NewManual(map[string]phase.Phase{"mirror": phase.Guard, "move": phase.Hold})
	r := start(t, redistest.Shared(t), proxy.Limits{}, rekey.WithSource(source))
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var work, walk sync.WaitGroup
	walking, stop := context.WithCancel(t.Context())
	walk.Go(func() {
		for i := 0; walking.Err() == nil; i++ {
			mirror := []phase.Phase{phase.Dual, phase.Drain}[i%2]
			source.Set(map[string]phase.Phase{"mirror": mirror, "move": []phase.Phase{phase.Move, phase.Hold}[i%2]})
			waitFor(t, func() bool { return r.rekey.Phases()["mirror"] == mirror || walking.Err() != nil })
			if err := r.rekey.WaitReached(walking); err != nil && walking.Err() == nil {
				t.Error(err)
			}
			select {
			case <-walking.Done():
			case <-time.After(20 * time.Millisecond): // commands of each phase
			}
		}
	})
	failed := make(chan error, 64)
	clients := 16
	for i := range clients {
		h := &hammer{r: r, id: i, rand: rand.New(rand.NewPCG(seed, uint64(i))), values: map[string]string{}, counts: map[string]int{}}
		work.Go(func() {
			if err := h.run(hammerRounds()); err != nil {
				failed <- fmt.Errorf("client %d: %w", i, err)
			}
		})
	}
	work.Wait()
	stop()
	walk.Wait()
	close(failed)
	for err := range failed {
		t.Error(err)
	}
	if n := r.metric("rekey_proxy_ended_total", "cut"); n > 0 {
		t.Errorf("%v clients were cut", n)
	}
}

// hammer is one client.
type hammer struct {
	r      *running
	id     int
	rand   *rand.Rand
	conn   net.Conn
	reader *bufio.Reader
	proto  int
	values map[string]string
	counts map[string]int
	send   []byte
	want   []byte
}

func (h *hammer) run(rounds int) error {
	for round := range rounds {
		if h.conn == nil {
			if err := h.connect(); err != nil {
				return err
			}
		}
		h.send, h.want = h.send[:0], h.want[:0]
		end := h.rand.IntN(12)
		for range 1 + h.rand.IntN(20) {
			h.plain(round, end != 0)
		}
		if end != 0 && h.rand.IntN(10) == 0 {
			h.stateful(round)
			for range h.rand.IntN(5) {
				h.plain(round, end != 0)
			}
		}
		switch end {
		case 0: // it goes in the middle of its replies, which were all reads
			if err := h.goAway(); err != nil {
				return err
			}
			continue
		case 1:
			h.send = append(h.send, "QUIT\r\nGET never\r\n"...)
			h.want = append(h.want, "+OK\r\n"...)
		case 2:
			h.send = append(h.send, "*1\r\n:nonsense\r\n"...)
			h.want = append(h.want, "-ERR Protocol error: expected '$', got ':'\r\n"...)
		}
		if err := h.exchange(end == 1 || end == 2); err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
	}
	if h.conn == nil {
		return nil
	}
	return h.conn.Close()
}

func (h *hammer) connect() (err error) {
	if h.conn, err = net.Dial("tcp", h.r.addr); err != nil {
		return err
	}
	h.reader, h.proto = bufio.NewReader(h.conn), 2
	if h.rand.IntN(3) > 0 {
		return nil
	}
	h.proto = 3
	if _, err := io.WriteString(h.conn, "HELLO 3\r\n"); err != nil {
		return err
	}
	hello, err := redistest.ReadReply(h.reader)
	if err == nil && hello[0] != '%' {
		err = fmt.Errorf("HELLO: %q", hello)
	}
	return err
}

func (h *hammer) command(want string, words ...string) {
	h.send = append(h.send, fmt.Sprintf("*%d\r\n", len(words))...)
	for _, w := range words {
		h.send = append(h.send, fmt.Sprintf("$%d\r\n%s\r\n", len(w), w)...)
	}
	h.want = append(h.want, want...)
}

func (h *hammer) key(kind string) string {
	return fmt.Sprintf("%s:%s:%d:%d", []string{"mi", "mo", "none"}[h.rand.IntN(3)], kind, h.id, h.rand.IntN(5))
}

func (h *hammer) bulk(value string, ok bool) string {
	switch {
	case ok:
		return fmt.Sprintf("$%d\r\n%s\r\n", len(value), value)
	case h.proto == 3:
		return "_\r\n"
	}
	return "$-1\r\n"
}

// plain adds a command that any connection may carry.
func (h *hammer) plain(round int, writes bool) {
	key, counter := h.key("s"), h.key("n")
	kind := h.rand.IntN(12)
	if !writes && kind < 6 {
		kind += 6
	}
	switch kind {
	case 0, 1, 2:
		value := strings.Repeat(fmt.Sprintf("<%d.%d>", h.id, round), 1+h.rand.IntN(20))
		if h.rand.IntN(20) == 0 {
			value = strings.Repeat(value, 400)
		}
		h.values[key] = value
		h.command("+OK\r\n", "SET", key, value)
	case 3, 4:
		h.counts[counter]++
		h.command(fmt.Sprintf(":%d\r\n", h.counts[counter]), "INCR", counter)
	case 5:
		_, there := h.values[key]
		delete(h.values, key)
		h.command(fmt.Sprintf(":%d\r\n", map[bool]int{true: 1}[there]), "DEL", key)
	case 6:
		h.command(fmt.Sprintf("$8\r\n%08d\r\n", h.id*1000+round), "ECHO", fmt.Sprintf("%08d", h.id*1000+round))
	case 7:
		h.command("-ERR wrong number of arguments for 'get' command\r\n", "GET", "a", "b")
	default:
		value, ok := h.values[key]
		h.command(h.bulk(value, ok), "GET", key)
	}
}

// stateful adds commands that want a connection of the client's own.
func (h *hammer) stateful(round int) {
	key, list := h.key("s"), h.key("l")
	value := fmt.Sprintf("<own %d.%d>", h.id, round)
	switch h.rand.IntN(7) {
	case 0, 1:
		h.values[key] = value
		h.command("+OK\r\n", "MULTI")
		h.command("+QUEUED\r\n", "SET", key, value)
		h.command("+QUEUED\r\n", "GET", key)
		h.command("*2\r\n+OK\r\n"+h.bulk(value, true), "EXEC")
	case 2:
		h.command(":1\r\n", "RPUSH", list, value)
		h.command(fmt.Sprintf("*2\r\n%s%s", h.bulk(list, true), h.bulk(value, true)), "BLPOP", list, "5")
	case 3:
		name := fmt.Sprintf("client%d", h.id)
		h.command("+OK\r\n", "CLIENT", "SETNAME", name)
		h.command(h.bulk(name, true), "CLIENT", "GETNAME")
	case 4:
		if h.proto == 2 {
			h.command(fmt.Sprintf("*3\r\n$9\r\nsubscribe\r\n$5\r\nc%04d\r\n:1\r\n", h.id), "SUBSCRIBE", fmt.Sprintf("c%04d", h.id))
			h.command(fmt.Sprintf("*3\r\n$11\r\nunsubscribe\r\n$5\r\nc%04d\r\n:0\r\n", h.id), "UNSUBSCRIBE", fmt.Sprintf("c%04d", h.id))
		}
	case 5:
		h.command(":0\r\n", "WAIT", "0", "0")
	case 6:
		h.command("+OK\r\n", "SELECT", "3")
		h.command(h.bulk("", false), "GET", key)
		h.command("+OK\r\n", "SELECT", "0")
	}
}

// exchange sends what was made, in pieces, and compares what comes.
func (h *hammer) exchange(ends bool) error {
	for p := h.send; len(p) > 0; {
		n := len(p)
		if h.rand.IntN(4) == 0 {
			n = 1 + h.rand.IntN(n)
		}
		if _, err := h.conn.Write(p[:n]); err != nil {
			return err
		}
		p = p[n:]
	}
	if err := h.conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	got := make([]byte, len(h.want))
	if n, err := io.ReadFull(h.reader, got); err != nil || !bytes.Equal(got, h.want) {
		i := 0
		for i < n && got[i] == h.want[i] {
			i++
		}
		return fmt.Errorf("%w: from byte %d on got %.100q, want %.100q", err, i, got[i:n], h.want[i:])
	}
	if !ends {
		return nil
	}
	rest, err := io.ReadAll(h.reader)
	if err != nil || len(rest) > 0 {
		return fmt.Errorf("behind the end: %.100q, %w", rest, err)
	}
	defer func() { h.conn = nil }()
	return h.conn.Close()
}

// goAway sends what was made and goes when a part of the replies has come.
func (h *hammer) goAway() error {
	if _, err := h.conn.Write(h.send); err != nil {
		return err
	}
	got := make([]byte, h.rand.IntN(len(h.want)+1))
	if _, err := io.ReadFull(h.reader, got); err != nil || !bytes.HasPrefix(h.want, got) {
		return fmt.Errorf("%w: got %.200q, want %.200q", err, got, h.want)
	}
	defer func() { h.conn = nil }()
	return h.conn.Close()
}

// TestChurn: clients that come and go by the hundreds, with and without a word, in the middle of commands and of
// replies, leave nothing behind, and a client beside them is served all the while.
func TestChurn(t *testing.T) { both(t, testChurn) }

func testChurn(t *testing.T) {
	server := redistest.Shared(t)
	r := start(t, server, proxy.Limits{})
	check := good(t, r)
	check()
	var work sync.WaitGroup
	for i := range 8 {
		work.Go(func() {
			for n := range 150 {
				conn, err := net.Dial("tcp", r.addr)
				if err != nil {
					t.Error(err)
					return
				}
				switch (i + n) % 5 {
				case 0:
				case 1:
					_, err = io.WriteString(conn, "*2\r\n$3\r\nGET\r\n$100\r\nmi:")
				case 2:
					_, err = io.WriteString(conn, strings.Repeat("GET mi:good\r\n", 100))
				case 3:
					_, err = io.WriteString(conn, "MULTI\r\nGET mi:good\r\n")
				case 4:
					if _, err = io.WriteString(conn, "ECHO whole\r\n"); err == nil {
						_, err = io.ReadFull(conn, make([]byte, len("$5\r\nwhole\r\n")))
					}
				}
				if err != nil {
					t.Errorf("%d.%d: %v", i, n, err)
				}
				_ = conn.Close() // whatever is under way
			}
		})
	}
	gone := make(chan struct{})
	go func() { work.Wait(); close(gone) }()
	for busy := true; busy; {
		select {
		case <-gone:
			busy = false
		default:
		}
		check()
	}
	waitFor(t, func() bool { return r.Clients() == 1 && r.rekey.Stats().Conns <= 1 })
	check()
}

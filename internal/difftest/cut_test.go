package difftest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/command"
	"github.com/classwaves/rekey/internal/intercept"
	"github.com/classwaves/rekey/internal/resp"
	"github.com/classwaves/rekey/phase"
)

// A session gets the bytes of both sides as the network cuts them, and as many commands at a time
// as the application cares to send. Neither may change an answer.

// cutting says how a stream is cut: the size of the next piece of at most n bytes.
type cutting struct {
	name string
	next func(rng *rand.Rand, n int) int
}

var cuttings = []cutting{
	{"whole", func(_ *rand.Rand, n int) int { return n }},
	{"every byte", func(*rand.Rand, int) int { return 1 }},
	{"at random", func(rng *rand.Rand, n int) int { return 1 + rng.IntN(min(n, 1<<rng.IntN(12))) }},
}

// cutSequences is how many conversations each phase has.
const cutSequences = 3

func TestCutStreams(t *testing.T) {
	w := newWorld(t)
	base := baseSeed(t)
	all := pairs()
	for p, a := range all {
		if a.phases[0] != a.phases[1] {
			continue
		}
		t.Run(a.String(), func(t *testing.T) {
			for i := range cutSequences {
				for c, cut := range cuttings {
					rng := rand.New(rand.NewPCG(base, uint64(p)<<32|uint64(i)|1<<60))
					b := all[rng.IntN(len(all))]
					s := setting{a: a, b: pair{b.strategy, [2]phase.Phase{b.phases[0], b.phases[0]}}, protos: [2]int{2 + (i+c)%2, 2}, load: rng.Uint64()}
					steps := newGenerator(w, base, false).sequence(rng, i*len(all)+p)
					problem, err := w.converse(s, steps, cut, rng)
					if err != nil {
						t.Fatalf("sequence %d, cut %s: %v", i, cut.name, err)
					}
					if problem != "" {
						t.Errorf("sequence %d, cut %s: %v\n%s", i, cut.name, s, problem)
					}
				}
			}
		})
	}
}

// converse sends what one application says, first to the bare server command by command, and then
// through a session in one stream that is cut.
func (w *world) converse(s setting, steps []step, cut cutting, rng *rand.Rand) (string, error) {
	r, err := w.begin(s, newCounts())
	if err != nil {
		return "", err
	}
	defer r.end()
	r.began = time.Now()
	kept, want, err := r.bareFirst(steps)
	if err != nil {
		return "", err
	}
	stream := resp.AppendCommand(nil, asArgs("hello", fmt.Sprint(s.protos[0]))...)
	for _, st := range kept {
		stream = resp.AppendCommand(stream, asArgs(r.engineWords(st.words)...)...)
	}
	got, err := w.through(r.rules[0], stream, len(kept)+1, cut, rng)
	if err != nil {
		return "", err
	}
	for i, st := range kept {
		problem, err := r.judge(st, got[i+1], want[i])
		if err != nil || problem != "" {
			return fmt.Sprintf("command %d: %s", i, problem), err
		}
	}
	r.skew = r.sinceStep()
	return r.finish()
}

// bareFirst gives the steps that can be sent as one stream, and what the bare server says to them.
func (r *run) bareFirst(steps []step) (kept []step, want [][]byte, err error) {
	for _, st := range steps {
		st.conn = 0
		if r.watch[0] && r.multi[0] == nil && writes(plain(st.words)) {
			continue // it may touch what is watched, and nobody could send the transaction again
		}
		if r.left(st) || st.served != nil || st.expires || nameOf(plain(st.words)) == "spop" {
			continue
		}
		if err := r.bare[0].send(r.bareWords(st.words)); err != nil {
			return nil, nil, err
		}
		reply, err := r.bare[0].receive()
		if err != nil {
			return nil, nil, err
		}
		if _, err := r.judge(st, reply, reply); err != nil { // follows the state
			return nil, nil, err
		}
		kept, want = append(kept, st), append(want, reply)
	}
	r.multi[0], r.watch[0] = nil, false
	return kept, want, nil
}

func writes(words []string) bool {
	c, ok := command.Lookup(asArgs(words...))
	if !ok {
		return false
	}
	class := c.Use(asArgs(words...)).Class
	return class != command.ClassRead && class != command.ClassSession && class != command.ClassNone
}

// through gives the replies to a stream that goes through a session.
func (w *world) through(rules *intercept.Rules, stream []byte, replies int, cut cutting, rng *rand.Rand) ([][]byte, error) {
	conn := dialBare(w.t, w.engine)
	d := &driver{session: intercept.NewSession(rules, time.Now), conn: conn, cut: cut, rng: rng, fromServer: make(chan []byte)}
	go d.listen()
	defer d.hangUp()
	for len(d.whole) < replies {
		switch {
		case len(stream) > 0 && rng.IntN(2) == 0:
			n := cut.next(rng, len(stream))
			if err := d.took(d.session.Client(stream[:n:n])); err != nil {
				return nil, err
			}
			stream = stream[n:]
		case len(stream) > 0:
			select {
			case b := <-d.fromServer:
				if err := d.server(b); err != nil {
					return nil, err
				}
			default:
			}
		default:
			if err := d.await(); err != nil {
				return nil, fmt.Errorf("after %d of %d replies: %w", len(d.whole), replies, err)
			}
		}
	}
	return d.whole, nil
}

// driver is the shell around a session.
type driver struct {
	session    *intercept.Session
	conn       net.Conn
	cut        cutting
	rng        *rand.Rand
	fromServer chan []byte
	part       []byte
	skip       resp.Skipper
	seen       int      // bytes of part that were skipped
	whole      [][]byte // replies for the client
}

func (d *driver) listen() {
	defer close(d.fromServer)
	for {
		b := make([]byte, 32<<10)
		n, err := d.conn.Read(b)
		if n > 0 {
			d.fromServer <- b[:n]
		}
		if err != nil {
			return
		}
	}
}

// hangUp ends the connection, and with it listen.
func (d *driver) hangUp() {
	_ = d.conn.Close() // of a test: nothing is lost
	for range d.fromServer {
		continue // late bytes
	}
}

// took passes on what a call of the session put out.
func (d *driver) took(err error) error {
	if err != nil {
		return err
	}
	toServer, toClient := d.session.Output()
	d.part = append(d.part, toClient...)
	for d.seen < len(d.part) {
		n, done, err := d.skip.Skip(d.part[d.seen:])
		if err != nil {
			return err
		}
		d.seen += n
		if !done {
			break
		}
		d.whole = append(d.whole, append([]byte(nil), d.part[:d.seen]...))
		d.part, d.seen = d.part[d.seen:], 0
	}
	if len(toServer) == 0 {
		return nil
	}
	_, err = d.conn.Write(toServer)
	return err
}

func (d *driver) server(b []byte) error {
	if b == nil {
		return errors.New("the server closed the connection")
	}
	for len(b) > 0 {
		n := d.cut.next(d.rng, len(b))
		if err := d.took(d.session.Server(b[:n:n])); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// await waits for the server, or for the time at which the session wants a tick.
func (d *driver) await() error {
	limit := time.NewTimer(replyWithin)
	defer limit.Stop()
	var tick <-chan time.Time
	if wake, ok := d.session.Wake(); ok {
		timer := time.NewTimer(time.Until(wake))
		defer timer.Stop()
		tick = timer.C
	}
	select {
	case b := <-d.fromServer:
		return d.server(b)
	case <-tick:
		return d.took(d.session.Tick())
	case <-limit.C:
		return errors.New("no reply")
	}
}

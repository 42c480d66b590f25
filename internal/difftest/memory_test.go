package difftest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/command"
)

// Both servers get a limit that is far below what their data take, so that both answer OOM to
// every command that may need memory. Redis 7.0 answers it to every command inside MULTI.

const (
	anyMemory  = "0"
	fullMemory = "1"
)

func (w *world) setMemory(most string) {
	for _, admin := range []*wire{w.adminBare, w.adminEngine} {
		must(w.t, admin, "CONFIG", "SET", "maxmemory", most)
	}
}

// stepAtFullMemory sends a step to the engine first. One that it refuses where the bare server
// would not is not sent to that, so that at the end the data show that nothing of it ran.
func (r *run) stepAtFullMemory(s step) (problem string, err error) {
	if err := r.other[s.conn].send(r.engineWords(s.words)); err != nil {
		return "", err
	}
	got, err := r.other[s.conn].receive()
	if err != nil {
		return "", err
	}
	words := r.bareWords(s.words)
	if nameOf(words) == "discard" && len(words) == 1 {
		r.doomed[s.conn] = false
	}
	if r.doomed[s.conn] && nameOf(words) == "exec" {
		if !bytes.HasPrefix(got, []byte("-EXECABORT ")) {
			return fmt.Sprintf("exec behind a refusal\n got %q", got), nil
		}
		words = []string{"discard"}
		r.multi[s.conn], r.watch[s.conn], r.doomed[s.conn] = nil, false, false
		_, err := ask(r.bare[s.conn], words...)
		return "", err
	}
	inMulti := r.multi[s.conn] != nil
	if isOOM(got) && runsScript(words) && !inMulti {
		return r.scriptAtFullMemory(s, words, got)
	}
	if isOOM(got) && !deniedOOM(words, inMulti) && !(inMulti && r.w.refusesMulti()) {
		r.doomed[s.conn] = inMulti
		return r.refusedAtFullMemory(s, words, inMulti), nil
	}
	if r.picks(s) {
		return r.picked(s, got)
	}
	if err := r.bare[s.conn].send(words); err != nil {
		return "", err
	}
	want, err := r.bare[s.conn].receive()
	if err != nil {
		return "", fmt.Errorf("bare server: %w", err)
	}
	if isOOM(want) && !isOOM(got) && r.allowedRefusal(bareRefuses, s, words, inMulti) {
		if want, err = r.withMemory(s, words); err != nil {
			return "", err
		}
	}
	return r.judge(s, got, want)
}

func isOOM(reply []byte) bool { return bytes.HasPrefix(reply, []byte("-OOM ")) }

func runsScript(words []string) bool {
	name := nameOf(words)
	return strings.HasPrefix(name, "eval") || strings.HasPrefix(name, "fcall")
}

// scriptAtFullMemory: a script of the application's that the engine refuses is sent to the bare server
// all the same, since that refuses those that write.
func (r *run) scriptAtFullMemory(s step, words []string, got []byte) (problem string, err error) {
	if err := r.bare[s.conn].send(words); err != nil {
		return "", err
	}
	want, err := r.bare[s.conn].receive()
	switch {
	case err != nil || bytes.Equal(got, want):
		return "", err
	case isOOM(want) && r.allowedRefusal(bothRefuse, s, words, false):
		return "", nil
	}
	return r.refusedAtFullMemory(s, words, false), nil
}

// withMemory sends a step to the bare server as if it had memory.
func (r *run) withMemory(s step, words []string) ([]byte, error) {
	must(r.w.t, r.w.adminBare, "CONFIG", "SET", "maxmemory", anyMemory)
	defer func() { must(r.w.t, r.w.adminBare, "CONFIG", "SET", "maxmemory", fullMemory) }()
	if err := r.bare[s.conn].send(words); err != nil {
		return nil, err
	}
	return r.bare[s.conn].receive()
}

// deniedOOM says that a bare server refuses a command for what it is. Of a function it knows that
// before it queues it.
func deniedOOM(words []string, inMulti bool) bool {
	c, ok := command.Lookup(asArgs(words...))
	return ok && (c.Flags&command.DenyOOM != 0 || inMulti && c.Name == "fcall")
}

// refusesMulti says that the server refuses every command inside MULTI when its memory is full.
func (w *world) refusesMulti() bool { return !w.bare.IsValkey() && !w.bare.AtLeast(7, 2) }

// refusedAtFullMemory says that a refusal of the engine's is not one of those that are allowed.
func (r *run) refusedAtFullMemory(s step, words []string, inMulti bool) (problem string) {
	if r.allowedRefusal(engineRefuses, s, words, inMulti) {
		return ""
	}
	return fmt.Sprintf("%s was refused for want of memory, in MULTI: %v, behind WATCH: %v", transcript(s.words), inMulti, r.watch[s.conn])
}

// allowedRefusal looks for a refusal in the list of those that are allowed, and counts it.
func (r *run) allowedRefusal(by who, s step, words []string, inMulti bool) bool {
	c, _ := command.Lookup(asArgs(words...))
	keys, err := c.Keys(nil, asArgs(words...))
	if err != nil {
		return false // malformed: both say so, and not that memory is wanting
	}
	refused := refusal{words: words, multi: inMulti, watch: r.watch[s.conn], keys: len(keys), class: c.Use(asArgs(words...)).Class}
	for _, k := range keys {
		switch {
		case strings.HasPrefix(words[k.Arg], "a:"):
			refused.phases = append(refused.phases, r.setting.a.phases[s.conn])
		case strings.HasPrefix(words[k.Arg], "b:"):
			refused.phases = append(refused.phases, r.setting.b.phases[s.conn])
		}
	}
	for _, a := range allowedAtFullMemory {
		if a.who == by && a.when(refused) {
			r.counts.refusedWhenFull[a.reason]++
			return true
		}
	}
	return false
}

func TestFullMemory(t *testing.T) {
	w := newWorld(t)
	defer w.setMemory(anyMemory)
	base := baseSeed(t)
	all := pairs()
	total := newCounts()
	share := budget(t) / 3 / time.Duration(len(all))
	for p, a := range all {
		t.Run(a.String(), func(t *testing.T) {
			began := time.Now()
			for i := 0; i < leastSequences || time.Since(began) < share; i++ {
				rng := rand.New(rand.NewPCG(base, uint64(p)<<32|uint64(i)|1<<62))
				s := setting{
					a: all[p], b: all[rng.IntN(len(all))], full: true,
					protos: [2]int{2 + rng.IntN(2), 2 + rng.IntN(2)},
					load:   rng.Uint64(), twoCopies: rng.IntN(2) == 0,
				}
				steps := newGenerator(w, base, false).sequence(rng, i*len(all)+p)
				f, err := w.runSequence(s, steps, total)
				if err != nil {
					t.Fatal(err)
				}
				if f != nil {
					w.report(t, s, steps, fmt.Sprintf("%d, sequence %d", base, i), f)
				}
			}
		})
	}
	t.Logf("%d sequences, %d steps", total.sequences, total.steps)
	for reason, n := range total.refusedWhenFull {
		t.Logf("refused %d times: %s", n, reason)
	}
	for _, name := range []string{"get", "hgetall", "xread", "exists", "del", "unlink", "getdel", "hdel", "lpop", "spop", "srem", "zpopmin", "expire", "persist", "ltrim"} {
		if total.succeeded[name] == 0 {
			t.Errorf("%s never succeeded at full memory", name)
		}
	}
}

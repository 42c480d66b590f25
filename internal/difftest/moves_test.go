package difftest

import (
	"fmt"
	"strconv"
	"time"

	"github.com/classwaves/rekey/internal/resp"
)

// Steps of which the two sides cannot simply be sent the same.

// serve sends a command that waits, and on the other connection what it waits for.
func (r *run) serve(s step) (problem string, err error) {
	unlink := step{conn: s.conn, words: []word{{text: "unlink"}, s.words[keyIn(s.words)]}}
	if problem, err = r.step(unlink); err != nil || problem != "" {
		return problem, err
	}
	push := step{conn: 1 - s.conn, words: s.served}
	for _, st := range []step{s, push} {
		if err := r.other[st.conn].send(r.engineWords(st.words)); err != nil {
			return "", err
		}
		if err := r.bare[st.conn].send(r.bareWords(st.words)); err != nil {
			return "", err
		}
	}
	for _, st := range []step{push, s} {
		if problem, _, err = r.receive(st); err != nil || problem != "" {
			return problem, err
		}
	}
	return "", nil
}

// untilGone waits until a key that expires is gone for both sides.
func (r *run) untilGone(s step) error {
	deadline := time.Now().Add(r.setting.within())
	for _, side := range []struct {
		p   peer
		key string
	}{{r.other[s.conn], s.words[1].physical()}, {r.bare[s.conn], s.words[1].text}} {
		for {
			v, err := ask(side.p, "exists", side.key)
			if err != nil {
				return err
			}
			if v.Int == 0 {
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("%s does not expire", side.key)
			}
		}
	}
	return nil
}

// picks says that a step takes random members of a set.
func (r *run) picks(s step) bool {
	return nameOf(plain(s.words)) == "spop" && r.multi[s.conn] == nil
}

// pick is SPOP: the bare server is told to remove what the engine's picked, and must have had it.
func (r *run) pick(s step) (problem string, err error) {
	if err := r.other[s.conn].send(r.engineWords(s.words)); err != nil {
		return "", err
	}
	got, err := r.other[s.conn].receive()
	if err != nil {
		return "", err
	}
	return r.picked(s, got)
}

func (r *run) picked(s step, got []byte) (problem string, err error) {
	v, _, err := resp.Parse(got)
	if err != nil {
		return "", err
	}
	picked := v.Elems
	if v.Type == '$' && !v.Null {
		picked = []resp.Value{v}
	}
	if v.IsError() || len(picked) == 0 {
		if err := r.bare[s.conn].send(r.bareWords(s.words)); err != nil {
			return "", err
		}
		want, err := r.bare[s.conn].receive()
		if err != nil {
			return "", err
		}
		return r.judge(s, got, want)
	}
	key := s.words[1].text
	held, err := ask(r.bare[s.conn], "scard", key)
	if err != nil {
		return "", err
	}
	remove := []string{"srem", key}
	for _, m := range picked {
		remove = append(remove, string(m.Str))
	}
	removed, err := ask(r.bare[s.conn], remove...)
	if err != nil {
		return "", err
	}
	want := resp.Value{Type: '$'}
	count := int64(1)
	if len(s.words) > 2 {
		asked, err := strconv.ParseInt(s.words[2].text, 10, 64)
		if err != nil {
			return fmt.Sprintf("spop of %q members was answered", s.words[2].text), nil
		}
		count = min(asked, held.Int)
		want.Type = "*~"[r.setting.protos[s.conn]-2]
	}
	r.counts.add(s.words, v)
	if int64(len(picked)) != count || removed.Int != count || v.Type != want.Type {
		return fmt.Sprintf("%s\n got %q\nof a set of %d members, of which %d were among them", transcript(s.words), got, held.Int, removed.Int), nil
	}
	return "", nil
}

// again sends a transaction once more that the engine answered with nil and the bare server ran,
// as an application would. A WATCH may find a name touched that holds the same as before.
func (r *run) again(s step, queued [][]word, want resp.Value) (string, error) {
	r.counts.abortedAgain++
	lines := append([][]word{{{text: "multi"}}}, queued...)
	for _, words := range append(lines, s.words) {
		if err := r.other[s.conn].send(r.engineWords(words)); err != nil {
			return "", err
		}
	}
	var last []byte
	for range len(lines) + 1 {
		var err error
		if last, err = r.other[s.conn].receive(); err != nil {
			return "", err
		}
	}
	got, _, err := resp.Parse(last)
	if err != nil {
		return "", err
	}
	return r.compareExec(queued, got, want), nil
}

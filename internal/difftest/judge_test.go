package difftest

import (
	"bytes"
	"fmt"

	"github.com/classwaves/rekey/internal/command"
	"github.com/classwaves/rekey/internal/resp"
)

// judge compares two replies and follows what the command made of the connection.
func (r *run) judge(s step, got, want []byte) (problem string, err error) {
	gotValue, _, err := resp.Parse(got)
	if err != nil {
		return fmt.Sprintf("the engine's reply %q: %v", got, err), nil
	}
	wantValue, _, err := resp.Parse(want)
	if err != nil {
		return "", err
	}
	name := nameOf(plain(s.words))
	queued := r.multi[s.conn]
	switch ok := !wantValue.IsError(); {
	case name == "exec" && queued != nil && len(s.words) > 1: // refused, and yet the end
		r.multi[s.conn], r.watch[s.conn] = nil, false
	case name == "exec" && queued != nil:
		r.multi[s.conn], r.watch[s.conn] = nil, false
		return r.judgeExec(s, *queued, gotValue, wantValue)
	case name == "multi" && ok:
		r.multi[s.conn] = new([][]word)
	case name == "discard" && ok:
		r.multi[s.conn], r.watch[s.conn] = nil, false
	case name == "watch" && ok:
		if !r.watch[s.conn] {
			r.watch[s.conn], r.others[s.conn] = true, 0
		}
	case name == "unwatch" && ok && queued == nil:
		r.watch[s.conn] = false
	}
	if queued != nil && string(want) == "+QUEUED\r\n" {
		*queued = append(*queued, s.words)
	} else {
		r.counts.add(s.words, wantValue)
	}
	if (r.watch[s.conn] || r.setting.full) && queued == nil {
		gotValue, wantValue = fromLua(gotValue), fromLua(respelled(s.words, wantValue))
	}
	return r.compare(s.words, gotValue, wantValue, queued != nil), nil
}

// compare gives the difference between two replies to a command.
func (r *run) compare(words []word, got, want resp.Value, queueing bool) string {
	want = respelled(words, want)
	same := equalBytes
	if name := nameOf(plain(words)); !queueing && (name == "debug" || !got.IsError() && !want.IsError()) {
		same = slackOf(name)
	}
	if same(got, want, r.skew+r.sinceStep()) {
		return ""
	}
	return fmt.Sprintf("%s\n got %q\nwant %q", transcript(words), got.Append(nil), want.Append(nil))
}

// judgeExec compares the replies to EXEC one by one.
func (r *run) judgeExec(s step, queued [][]word, got, want resp.Value) (string, error) {
	if got.Null && !want.Null && len(want.Elems) == len(queued) && r.others[s.conn] > 0 {
		return r.again(s, queued, want)
	}
	return r.compareExec(queued, got, want), nil
}

func (r *run) compareExec(queued [][]word, got, want resp.Value) string {
	if len(want.Elems) != len(queued) || len(got.Elems) != len(queued) || got.Type != want.Type {
		if equalBytes(got, want, 0) {
			return ""
		}
		return fmt.Sprintf("exec\n got %q\nwant %q", got.Append(nil), want.Append(nil))
	}
	for i, words := range queued {
		r.counts.add(words, want.Elems[i])
		if problem := r.compare(words, got.Elems[i], want.Elems[i], false); problem != "" {
			return fmt.Sprintf("exec, command %d: %s", i+1, problem)
		}
	}
	return ""
}

// respelled is a bare server's reply with the names as the application wrote them.
func respelled(words []word, v resp.Value) resp.Value {
	for _, w := range words {
		if w.spelled {
			v = respell(v, []byte(w.text), []byte(targetOf(w.text)), namesKeys(plain(words)))
		}
	}
	return v
}

// namesKeys says that replies of a command, not only its errors, hold names of keys.
func namesKeys(words []string) bool {
	args := asArgs(words...)
	c, ok := command.Lookup(args)
	return ok && c.Use(args).Names != command.NamesNone
}

func respell(v resp.Value, from, to []byte, values bool) resp.Value {
	switch {
	case v.IsError():
		v.Str = bytes.ReplaceAll(v.Str, []byte("'"+string(from)+"'"), []byte("'"+string(to)+"'"))
	case values && bytes.Equal(v.Str, from):
		v.Str = to
	case values:
		elems := make([]resp.Value, len(v.Elems))
		for i := range v.Elems {
			elems[i] = respell(v.Elems[i], from, to, values)
		}
		v.Elems = elems
	}
	return v
}

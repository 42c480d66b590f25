package demo

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// fault is what is wrong with a reply. The zero value is nothing.
type fault uint8

const (
	lost    fault = iota + 1 // an acknowledged write is not there
	stale                    // an older value was read
	revived                  // a deleted or expired value was read
)

var faultNames = [...]string{0: "right", lost: "lost", stale: "stale", revived: "revived"}

func (f fault) String() string { return faultNames[f] }

// verdict is the judgement of one reply.
type verdict struct {
	fault
	want, got string
}

// span is the time in which a command ran on the server: somewhere between sending it and its reply.
type span struct{ start, end time.Time }

// slack is what clocks may differ by: the server keeps its time in milliseconds and looks at it once
// per round of its event loop.
const slack = 100 * time.Millisecond

// presence says whether a key must be there.
type presence uint8

const (
	absent presence = iota
	perhaps
	present
)

// lifetime is whether a key exists and until when.
type lifetime struct {
	exists        bool
	expires       bool
	first, latest time.Time // it expires somewhere between
}

// expireIn notes that a command in at set the time to live.
func (l *lifetime) expireIn(ttl time.Duration, at span) {
	l.expires, l.first, l.latest = true, at.start.Add(ttl), at.end.Add(ttl)
}

// at says whether the key must exist while a command runs.
func (l *lifetime) at(at span) presence {
	switch {
	case !l.exists, l.expires && at.start.After(l.latest.Add(slack)):
		return absent
	case l.expires && at.end.After(l.first.Add(-slack)):
		return perhaps
	default:
		return present
	}
}

// found compares the existence of a key with what a command saw, and takes over what it saw.
func (l *lifetime) found(there bool, at span) fault {
	must := l.at(at)
	l.exists = there
	switch {
	case there && must == absent:
		l.expires = false // of a key that should not be there no time is known
		return revived
	case !there && must == present:
		return lost
	default:
		return 0
	}
}

// ttl judges the reply of PTTL.
func (l *lifetime) ttl(ms int64, at span) verdict {
	if f := l.found(ms != -2, at); f != 0 || ms == -2 {
		return verdict{f, presenceWord(f != revived), presenceWord(ms != -2)}
	}
	got := time.Duration(ms) * time.Millisecond
	least, most := l.first.Sub(at.end)-slack, l.latest.Sub(at.start)+slack
	switch {
	case !l.expires && ms == -1, l.expires && ms >= 0 && least <= got && got <= most:
		return verdict{}
	case ms == -1:
		l.expires = false
		return verdict{lost, fmt.Sprintf("%v to live", most.Round(time.Second)), "no expiry"}
	default:
		l.expireIn(got, at)
		return verdict{stale, fmt.Sprintf("%v to live", most.Round(time.Second)), fmt.Sprintf("%v to live", got.Round(time.Millisecond))}
	}
}

func presenceWord(there bool) string {
	if there {
		return "present"
	}
	return "absent"
}

// register is a string key. Each write has a value of its own, so that a value tells its write.
type register struct {
	lifetime
	value string
}

// set notes an acknowledged write.
func (r *register) set(value string, ttl time.Duration, at span) {
	r.exists, r.value = true, value
	r.expireIn(ttl, at)
}

// remove notes an acknowledged deletion.
func (r *register) remove() { r.exists = false }

// read judges a value that was read.
func (r *register) read(got reply, at span) verdict {
	f := r.found(!got.null, at)
	want := "absent"
	if f != revived {
		want = version(r.value)
	}
	if f == 0 && !got.null && got.text != r.value {
		f = stale
	}
	if !got.null {
		r.value = got.text
	}
	return verdict{f, want, version(got.String())}
}

// flagged judges a reply that only says whether the key was there.
func (r *register) flagged(there bool, at span) verdict {
	f := r.found(there, at)
	return verdict{f, presenceWord(f != revived), presenceWord(there)}
}

// version is the part of a value that tells its write.
func version(value string) string {
	head, _, _ := strings.Cut(value, " ")
	return head
}

// counter is a key of INCR with one user at a time.
type counter struct {
	lifetime
	n int64
}

// incremented judges the reply of INCR.
func (c *counter) incremented(got int64, at span) verdict {
	must := c.at(at)
	fresh := got == 1
	want := c.n + 1
	if must == absent {
		want = 1
	}
	if must == absent || fresh {
		c.expires = false
	}
	right := got == want || must == perhaps && fresh
	c.exists, c.n = true, got
	switch {
	case right:
		return verdict{}
	case must == absent:
		return verdict{revived, fmt.Sprint(want), fmt.Sprint(got)}
	case fresh:
		return verdict{lost, fmt.Sprint(want), fmt.Sprint(got)}
	default:
		return verdict{stale, fmt.Sprint(want), fmt.Sprint(got)}
	}
}

// read judges a count that was read.
func (c *counter) read(got reply, at span) verdict {
	n := int64(0)
	if !got.null {
		n = got.integer()
	}
	f := c.found(!got.null, at)
	want := "absent"
	if f != revived {
		want = fmt.Sprint(c.n)
	}
	if f == 0 && !got.null && n != c.n {
		f = stale
	}
	if !got.null {
		c.n = n
	}
	return verdict{f, want, got.String()}
}

// tally is a counter that all workers count at once, without expiry.
type tally struct {
	acknowledged, begun int64 // how many INCRs
	highest             int64 // the highest count that was seen
	base                int64 // what the counter was off by at the last fault
}

// least is what the counter has reached for certain.
func (t *tally) least() int64 { return max(t.base+t.acknowledged, t.highest) }

// judge compares a count with what it must have reached before the command, and what it can have
// reached by now.
func (t *tally) judge(got, least int64) verdict {
	most := t.base + t.begun
	v := verdict{}
	switch {
	case got < least:
		v = verdict{lost, fmt.Sprintf("at least %d", least), fmt.Sprint(got)}
	case got > most:
		v = verdict{stale, fmt.Sprintf("at most %d", most), fmt.Sprint(got)}
	default:
		t.highest = max(t.highest, got)
		return v
	}
	t.base, t.highest = got-t.acknowledged, got
	return v
}

// members is a set key.
type members struct {
	lifetime
	in map[string]bool
}

// read judges all members, or some of them and some that are none.
func (m *members) read(got []string, at span) verdict {
	must := m.at(at)
	want := m.in
	if must == absent || must == perhaps && len(got) == 0 {
		want = nil
	}
	seen := make(map[string]bool, len(got))
	var gone, back []string
	for _, member := range got {
		seen[member] = true
		if !want[member] {
			back = append(back, member)
		}
	}
	for member := range want {
		if !seen[member] {
			gone = append(gone, member)
		}
	}
	v := verdict{0, list(want), list(seen)}
	switch {
	case len(gone) > 0:
		v.fault = lost
	case len(back) > 0:
		v.fault = revived
	}
	m.in, m.exists = seen, len(seen) > 0
	return v
}

func list(set map[string]bool) string {
	if len(set) == 0 {
		return "empty"
	}
	return strings.Join(slices.Sorted(maps.Keys(set)), " ")
}

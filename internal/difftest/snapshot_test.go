package difftest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/classwaves/rekey/internal/resp"
	"github.com/classwaves/rekey/phase"
)

// datum is one key of a server, in a form that is equal for equal data.
type datum struct {
	kind    string
	content string
	expiry  int64            // in Unix milliseconds, -1 for none
	fields  map[string]int64 // expiries of a hash's fields
}

// same compares two keys. Expiries that are relative to the moment of a command may differ by
// that moment.
func (d datum) same(o datum, skew time.Duration) bool {
	if d.kind != o.kind || d.content != o.content || !sameExpiry(d.expiry, o.expiry, skew) || len(d.fields) != len(o.fields) {
		return false
	}
	for f, at := range d.fields {
		other, ok := o.fields[f]
		if !ok || !sameExpiry(at, other, skew) {
			return false
		}
	}
	return true
}

func sameExpiry(a, b int64, skew time.Duration) bool {
	if a < 0 || b < 0 {
		return a == b
	}
	return max(a-b, b-a) <= skew.Milliseconds()
}

func (d datum) String() string {
	s := fmt.Sprintf("%s %q", d.kind, d.content)
	if d.expiry >= 0 {
		s += fmt.Sprintf(" expires %d", d.expiry)
	}
	if len(d.fields) > 0 {
		s += fmt.Sprintf(" fields expire %v", d.fields)
	}
	return s
}

// contents are the commands that read a key of each type.
var contents = map[string][]string{
	"string": {"GET", ""},
	"list":   {"LRANGE", "", "0", "-1"},
	"set":    {"SMEMBERS", ""},
	"hash":   {"HGETALL", ""},
	"zset":   {"ZRANGE", "", "0", "-1", "WITHSCORES"},
	"stream": {"XINFO", "STREAM", "", "FULL", "COUNT", "0"},
}

// snapshot reads all keys of database 0, over a connection in RESP2.
func (w *world) snapshot(conn *wire) (map[string]datum, error) {
	keys, err := ask(conn, "KEYS", "*")
	if err != nil {
		return nil, err
	}
	var first [][]string
	for _, k := range keys.Elems {
		first = append(first, []string{"TYPE", string(k.Str)}, []string{"PEXPIRETIME", string(k.Str)})
	}
	facts, err := pipeline(conn, first)
	if err != nil {
		return nil, err
	}
	var second [][]string
	for i, k := range keys.Elems {
		read, ok := contents[string(facts[2*i].Str)]
		if !ok { // a vector set
			read = []string{"VCARD", ""}
		}
		read = slices.Clone(read)
		read[slices.Index(read, "")] = string(k.Str)
		second = append(second, read)
	}
	values, err := pipeline(conn, second)
	if err != nil {
		return nil, err
	}
	data := make(map[string]datum, len(values))
	for i, k := range keys.Elems {
		d := datum{kind: string(facts[2*i].Str), expiry: facts[2*i+1].Int}
		d.content = canonical(d.kind, values[i])
		if d.kind == "hash" && w.known["hpexpiretime"] {
			if d.fields, err = fieldExpiries(conn, string(k.Str), values[i]); err != nil {
				return nil, err
			}
		}
		data[string(k.Str)] = d
	}
	return data, nil
}

// canonical is a value's content without what the server leaves open.
func canonical(kind string, v resp.Value) string {
	switch kind {
	case "set":
		v = sorted(v, 1)
	case "hash":
		v = sorted(v, 2)
	case "stream":
		v = masked(v)
	}
	return string(v.Append(nil))
}

func fieldExpiries(conn *wire, key string, all resp.Value) (map[string]int64, error) {
	fields := []string{"HPEXPIRETIME", key, "FIELDS", strconv.Itoa(len(all.Elems) / 2)}
	for i := 0; i < len(all.Elems); i += 2 {
		fields = append(fields, string(all.Elems[i].Str))
	}
	v, err := ask(conn, fields...)
	if err != nil {
		return nil, err
	}
	expiries := make(map[string]int64)
	for i, e := range v.Elems {
		if e.Int > 0 {
			expiries[fields[4+i]] = e.Int
		}
	}
	return expiries, nil
}

// pipeline asks many commands at once.
func pipeline(conn *wire, commands [][]string) ([]resp.Value, error) {
	if err := conn.sendAll(commands); err != nil {
		return nil, err
	}
	values := make([]resp.Value, len(commands))
	for i := range commands {
		reply, err := conn.receive()
		if err != nil {
			return nil, err
		}
		if values[i], _, err = resp.Parse(reply); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// difference compares what both servers hold after a sequence: the engine's as each of its two
// instances sees it. It is empty if they are equal.
func (w *world) difference(a, b pair, skew time.Duration, twoCopies bool) (string, error) {
	want, err := w.snapshot(w.adminBare)
	if err != nil {
		return "", err
	}
	held, err := w.snapshot(w.adminEngine)
	if err != nil {
		return "", err
	}
	var found []string
	names := make(map[string]bool)
	for name := range want {
		names[name] = true
	}
	for name := range held {
		logical := strings.TrimPrefix(name, "cw:test:")
		if logical != name && !ruled(logical) {
			found = append(found, fmt.Sprintf("nobody asked for the key %q", name))
		}
		names[logical] = true
	}
	for name := range names {
		bare, there := want[name]
		for _, f := range differs(name, there, bare, held, a, b, skew, twoCopies) {
			found = append(found, fmt.Sprintf("%s: %s\nbare: %v", name, f, bare))
		}
	}
	slices.Sort(found)
	return strings.Join(found, "\n"), nil
}

// differs compares one logical key.
func differs(name string, there bool, bare datum, held map[string]datum, a, b pair, skew time.Duration, twoCopies bool) (found []string) {
	legacy, isLegacy := held[name]
	if !ruled(name) {
		if isLegacy != there || there && !bare.same(legacy, skew) {
			return []string{fmt.Sprintf("the engine's server has %v", legacy)}
		}
		return nil
	}
	p := a
	if name[0] == 'b' {
		p = b
	}
	target, isTarget := held[targetOf(name)]
	var copies placement
	if isLegacy {
		copies |= underLegacy
	}
	if isTarget {
		copies |= underTarget
	}
	for _, ph := range p.phases {
		switch sees(ph, copies) {
		case 0:
			if there {
				found = append(found, fmt.Sprintf("lost in %v", ph))
			}
		case underLegacy:
			if !there || !bare.same(legacy, skew) {
				found = append(found, fmt.Sprintf("%v sees under its legacy name %v", ph, legacy))
			}
		case underTarget:
			if !there || !bare.same(target, skew) {
				found = append(found, fmt.Sprintf("%v sees under its target name %v", ph, target))
			}
		}
	}
	switch {
	case copies == underBoth && !p.mayHoldBoth():
		found = append(found, "there are two copies")
	case copies == underBoth && !p.has(phase.Legacy) && !target.same(legacy, 0):
		found = append(found, fmt.Sprintf("the copies differ: legacy %v, target %v", legacy, target))
	case twoCopies && there && copies != underBoth && p.keepsBoth():
		found = append(found, "there is one copy")
	}
	return found
}

package rewrite

import "fmt"

// content is what the two names of a key hold, and what a bare key would hold, up to
// the names of the values: a state of the key. It is finite, because a value matters
// only by whether it is the current one and whether the two copies are equal.
type content struct {
	legacy, target, bare symbol
	// missable: on a server that evicts, a copy was dropped while the other one lives.
	// A bare server might have dropped the key, so that it may be missing.
	missable bool
}

// symbol is one value: its data and its moment of expiry, each as a class.
type symbol struct{ data, ttl uint8 }

// Classes of data: none, the current data, and up to two others. Classes of expiry:
// none, the current one, and up to two others.
const (
	absent uint8 = iota
	current
	stale
	staler
)

var dataNames = [...]string{absent: "", current: "v", stale: "old", staler: "older"}

// load puts a content on a server under two names, without the bare key.
func (c content) load(s *store, legacy, target string) {
	c.legacy.load(s, legacy)
	c.target.load(s, target)
}

func (y symbol) load(s *store, name string) {
	if y.data != absent {
		s.keys[name] = value{dataNames[y.data], int(y.ttl)}
	}
}

// contentOf names what two names and a bare key hold by their classes.
func contentOf(legacy, target, bare value, missable bool) content {
	c := content{missable: missable}
	classify := func(l, t, b, none bool, equalLB, equalTB, equalTL bool) (cl, ct, cb uint8) {
		if !b {
			cb = current
		}
		switch {
		case l:
		case !none && equalLB:
			cl = current
		default:
			cl = stale
		}
		switch {
		case t:
		case !none && equalTB:
			ct = current
		case !l && equalTL:
			ct = cl
		case cl == stale:
			ct = staler
		default:
			ct = stale
		}
		return cl, ct, cb
	}
	c.legacy.data, c.target.data, c.bare.data = classify(legacy.data == "", target.data == "", bare.data == "", bare.data == "",
		legacy.data == bare.data, target.data == bare.data, target.data == legacy.data)
	c.legacy.ttl, c.target.ttl, c.bare.ttl = classify(legacy.ttl == 0, target.ttl == 0, bare.ttl == 0, bare.ttl == 0,
		legacy.ttl == bare.ttl, target.ttl == bare.ttl, target.ttl == legacy.ttl)
	if c.missable && c.legacy != c.bare && c.target != c.bare {
		// The last copy is gone, and with it the key.
		return contentOf(legacy, target, value{}, false)
	}
	c.missable = c.missable && (c.legacy != c.bare || c.target != c.bare)
	return c
}

// again classifies a content that was changed by hand.
func (c content) again() content {
	v := func(y symbol) value { return value{dataNames[y.data], int(y.ttl)} }
	return contentOf(v(c.legacy), v(c.target), v(c.bare), c.missable)
}

func (c content) String() string {
	text := fmt.Sprintf("L %s, P %s; bare %s", c.legacy, c.target, c.bare)
	if c.missable {
		text += " or evicted"
	}
	return text
}

func (y symbol) String() string {
	if y.data == absent {
		return "-"
	}
	if y.ttl == 0 {
		return dataNames[y.data]
	}
	return fmt.Sprintf("%s@%d", dataNames[y.data], y.ttl)
}

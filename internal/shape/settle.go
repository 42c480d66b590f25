package shape

import (
	"maps"
	"slices"
	"strings"
)

// limits say what is taken for values of a variable at the end.
type limits struct {
	// singles: of words that are one name each, more than these.
	singles int
	// alike: words that go on in the same way, if there are more than these: the types of a cache, not access_code and csrf,
	// which are the first of their names. The words that end a name are its fields and may be as many as words.
	alike int
	// words: no place has more segments than these, and the first one, where names begin to differ, no more than first.
	words, first int
	// tails: behind no place are more different tails than these.
	tails int
}

// start is what is said unless there are more shapes than asked for: then all of it is halved until there are not.
var start = limits{singles: 3, alike: DefaultWords, words: 24, first: 128, tails: 24}

func (l limits) halved() limits {
	return limits{l.singles / 2, l.alike / 2, l.words / 2, l.first / 2, l.tails / 2}
}

const (
	// shortName is a word with a number that is a name where no other number comes beside it: v2, sha256.
	shortName = 6
	// lengths is how many different lengths tails of nothing but variables may have and still be told apart.
	lengths = 2
)

// settler makes a tree's places few and disjoint.
type settler[S any] struct {
	*Tree[S]
	limits
}

// node settles a place and all behind it. forked says that names differed before it.
func (t settler[S]) node(n *node[S], depth int, forked bool) {
	if n.rest != nil {
		return
	}
	t.nameShort(n, depth)
	most := t.first
	if forked {
		most = t.words
	}
	t.mergeAll(n, depth, t.literals(n, func(k *kid[S]) bool { return k.counted == 1 && k.next == nil }), t.singles)
	if len(n.kids) > most {
		t.giveUp(n, depth, most)
	}
	behind := forked || len(n.kids) > 1
	for _, key := range slices.Sorted(maps.Keys(n.kids)) {
		t.behind(n.kids[key], depth, behind)
	}
	if forked {
		ways := make(map[string][]*kid[S])
		for _, k := range t.literals(n, func(k *kid[S]) bool { return k.next != nil }) {
			way := outline(tailsOf(k.next))
			ways[way] = append(ways[way], k)
		}
		for _, way := range slices.Sorted(maps.Keys(ways)) {
			if k := t.mergeAll(n, depth, ways[way], t.alike); k != nil {
				t.behind(k, depth, behind)
			}
		}
	}
	t.separate(n, depth, behind)
	if depth > 0 && t.shapeless(tailsOf(n)) {
		t.toRest(n)
	}
}

func (t settler[S]) behind(k *kid[S], depth int, forked bool) {
	if k.next != nil {
		t.node(k.next, depth+1, forked)
	}
}

// nameShort makes a literal of v2 where no v3 is beside it.
func (t settler[S]) nameShort(n *node[S], depth int) {
	for _, key := range slices.Sorted(maps.Keys(n.kids)) {
		k := n.kids[key]
		word := k.open && !k.absorbs && k.kinds == Number && !isBoundary(k.prefix, len(k.prefix))
		if word && !k.several && k.counted > 1 && len(k.first) <= shortName {
			delete(n.kids, key)
			k.pattern, k.kinds = pattern{prefix: k.first}, 0
			t.put(n, k, depth)
		}
	}
}

// literals are the literals of a place that are so, in order. The empty segment is no word: no variable can be empty.
func (t settler[S]) literals(n *node[S], so func(*kid[S]) bool) (out []*kid[S]) {
	for _, key := range slices.Sorted(maps.Keys(n.kids)) {
		if k := n.kids[key]; key != "" && !k.open && so(k) {
			out = append(out, k)
		}
	}
	return out
}

// mergeAll makes one variable of words, if there are more than so many, and returns it.
func (t settler[S]) mergeAll(n *node[S], depth int, words []*kid[S], most int) *kid[S] {
	if len(words) <= max(1, most) {
		return nil
	}
	into := words[0]
	delete(n.kids, into.key())
	for _, k := range words[1:] {
		delete(n.kids, k.key())
		t.places--
		t.mergeKid(into, k, depth)
	}
	return t.put(n, into, depth)
}

// put gives a kid its place by its pattern. One that is there already takes it.
func (t settler[S]) put(n *node[S], k *kid[S], depth int) *kid[S] {
	k.absorbs = false
	if same := n.kids[k.key()]; same != nil {
		delete(n.kids, k.key())
		t.places--
		t.mergeKid(same, k, depth)
		return t.put(n, same, depth)
	}
	n.kids[k.key()] = k
	return k
}

// separate merges segments behind which some name could belong to both, until there are none.
func (t settler[S]) separate(n *node[S], depth int, forked bool) {
	for {
		a, b := t.meeting(n)
		if a == "" && b == "" {
			return
		}
		into, from := n.kids[a], n.kids[b]
		delete(n.kids, a)
		delete(n.kids, b)
		t.places--
		t.mergeKid(into, from, depth)
		t.behind(t.put(n, into, depth), depth, forked)
	}
}

// meeting finds two segments of which one is a variable, and a name that could belong to both.
func (t settler[S]) meeting(n *node[S]) (a, b string) {
	keys := slices.Sorted(maps.Keys(n.kids))
	tails := make(map[string][]tail[S], len(keys))
	for _, key := range keys {
		tails[key] = n.kids[key].tails()
	}
	for i, a := range keys {
		if !n.kids[a].open {
			continue
		}
		for j, b := range keys {
			if i == j || !n.kids[a].meets(n.kids[b].pattern) || n.kids[b].open && j < i {
				continue
			}
			for _, x := range tails[a] {
				if slices.ContainsFunc(tails[b], x.meets) {
					return a, b
				}
			}
		}
	}
	return "", ""
}

// shapeless reports whether what follows a place is better told as {rest...}.
func (t settler[S]) shapeless(tails []tail[S]) bool {
	seen := make(map[int]bool)
	plain, rest, several := true, false, 0
	for _, x := range tails {
		if len(x.segments) == 1 && x.segments[0].literal("") {
			continue // a name that ends here
		}
		several++
		plain = plain && !slices.ContainsFunc(x.segments, func(s segment) bool {
			return !s.literal("") && (!s.open || s.prefix != "" || s.suffix != "")
		})
		seen[len(x.segments)] = true
		rest = rest || x.rest
	}
	return several > max(1, t.tails) || plain && (len(seen) > lengths || rest && several > 1)
}

// tail is how names go on behind a place.
type tail[S any] struct {
	segments []segment
	rest     bool // behind the segments
	sum      *S
}

type segment struct {
	pattern
	kinds Kind
}

func (s segment) literal(text string) bool { return !s.open && s.prefix == text }

// tailsOf are the ways in which names go on from a place.
func tailsOf[S any](n *node[S]) (out []tail[S]) {
	if n.rest != nil {
		out = append(out, tail[S]{rest: true, sum: n.rest})
	}
	for _, key := range slices.Sorted(maps.Keys(n.kids)) {
		out = append(out, n.kids[key].tails()...)
	}
	return out
}

func (k *kid[S]) tails() (out []tail[S]) {
	this := segment{k.pattern, k.kinds}
	if k.end != nil {
		out = append(out, tail[S]{segments: []segment{this}, sum: k.end})
	}
	if k.next == nil {
		return out
	}
	for _, x := range tailsOf(k.next) {
		x.segments = append([]segment{this}, x.segments...)
		out = append(out, x)
	}
	return out
}

// meets reports whether some name goes on in both ways.
func (x tail[S]) meets(y tail[S]) bool {
	if len(x.segments) > len(y.segments) {
		x, y = y, x
	}
	for i, s := range x.segments {
		if !s.meets(y.segments[i].pattern) {
			return false
		}
	}
	left := y.segments[len(x.segments):]
	if len(left) == 0 {
		return x.rest == y.rest
	}
	// What is left has a byte for {rest...}, but where it is one empty segment.
	return x.rest && (y.rest || len(left) > 1 || !left[0].literal(""))
}

// outline is how tails look, whatever their variables hold.
func outline[S any](tails []tail[S]) string {
	var b strings.Builder
	for _, x := range tails {
		for _, s := range x.segments {
			b.WriteString(s.key() + ":")
		}
		if x.rest {
			b.WriteString("\x01")
		}
		b.WriteString("\n")
	}
	return b.String()
}

package shape

import (
	"maps"
	"slices"
)

// What a tree may hold. Places are what its memory goes to: a pattern, the first segment seen, and the caller's sums.
const (
	maxPlaces = 20_000
	// maxDepth is how many segments are told apart; what is behind is {rest...}. A template has 16 variables at most.
	maxDepth = 12
	// wideRoot and wide are how many segments a place may have before it gives some up: the first of a name, and others.
	wideRoot, wide = 512, 96
)

// Tree learns the shapes of names. S is what the caller sums up for each; its zero value is a sum of nothing.
type Tree[S any] struct {
	merge  func(into, from *S)
	root   *node[S]
	empty  *S // the empty name
	places int
	// narrowing: how often widths and depths were halved for want of places.
	narrowing int
}

// node is a place in names: their beginning, or behind a ':'. Its kids are the segments that were seen there.
type node[S any] struct {
	kids map[string]*kid[S]
	// rest is for names whose tail is looked at no more: {rest...}, one byte or more.
	rest *S
	// counted is how many names came by.
	counted int64
}

// kid is the segments at one place that have one pattern.
type kid[S any] struct {
	pattern
	// absorbs: it takes every segment that begins with root and goes on, whatever it looks like.
	absorbs  bool
	root     string
	shortest int
	first    string // the first segment; several: there were others
	several  bool
	kinds    Kind
	counted  int64
	end      *S       // names that end here
	next     *node[S] // names that go on behind a ':'
}

// NewTree makes a tree. merge adds the second sum to the first.
func NewTree[S any](merge func(into, from *S)) *Tree[S] {
	return &Tree[S]{merge: merge, root: newNode[S]()}
}

func newNode[S any]() *node[S] { return &node[S]{kids: make(map[string]*kid[S])} }

// Add shows the tree a name and returns the sum that it belongs to, which is good until the next call.
func (t *Tree[S]) Add(name []byte) *S {
	if len(name) == 0 {
		return sum(&t.empty)
	}
	if t.places > maxPlaces {
		t.narrow()
	}
	for n, depth := t.root, 0; ; depth++ {
		n.counted++
		if n.rest != nil && len(name) > 0 {
			return n.rest
		}
		segment, after, more := cut(name)
		k := t.place(n, segment, depth)
		if !more {
			return sum(&k.end)
		}
		if k.next == nil {
			k.next = newNode[S]()
			if depth+1 >= t.deep() {
				k.next.rest = new(S)
			}
		}
		n, name = k.next, after
	}
}

func sum[S any](s **S) *S {
	if *s == nil {
		*s = new(S)
	}
	return *s
}

func (t *Tree[S]) deep() int { return max(1, maxDepth-max(0, t.narrowing-5)) }

func (t *Tree[S]) wide(depth int) int {
	if depth == 0 {
		return max(4, wideRoot>>t.narrowing)
	}
	return max(2, wide>>t.narrowing)
}

// place returns the kid for a segment, a new one where nothing is like it.
func (t *Tree[S]) place(n *node[S], segment []byte, depth int) *kid[S] {
	p, kind := parse(segment)
	k := n.kids[p.key()]
	if k == nil {
		k = n.absorbing(segment)
	}
	if k == nil {
		k = &kid[S]{pattern: p, shortest: len(segment), first: p.prefix}
		if p.open && len(segment) <= maxPrefix {
			k.first = string(segment)
		} else if p.open {
			k.several = true
		}
		n.kids[p.key()] = k
		t.places++
		if len(n.kids) > t.wide(depth) {
			t.giveUp(n, depth, t.wide(depth)*3/4)
			if n.kids[p.key()] != k {
				k = n.absorbing(segment) // what took it
			}
		}
	}
	k.counted++
	k.kinds |= kind
	k.shortest = min(k.shortest, len(segment))
	if !k.several && string(segment) != k.first {
		k.several = true
	}
	if k.absorbs {
		k.pattern = join(k.pattern, pattern{prefix: string(segment)}, k.shortest)
		if kind == 0 {
			k.kinds |= Word
		}
	}
	return k
}

// absorbKey is the key of a kid that absorbs; no pattern has it.
func absorbKey(root string) string { return "\x00\x00" + root }

// absorbing returns the kid that takes the segment without looking at it.
func (n *node[S]) absorbing(segment []byte) *kid[S] {
	for at := min(len(segment)-1, maxPrefix); at >= 0; at-- {
		if at > 0 && alphanumeric(rune(segment[at-1])) {
			continue
		}
		if k := n.kids[absorbKey(string(segment[:at]))]; k != nil {
			return k
		}
	}
	return nil
}

// giveUp merges segments of a node until there are no more than so many: those that begin alike and differ in what follows,
// where most of them do. Those that are much more frequent than others keep their place.
func (t *Tree[S]) giveUp(n *node[S], depth, upTo int) {
	for len(n.kids) > upTo {
		root, several := n.widest(int64(t.wide(depth)))
		heavy := int64(t.wide(depth))
		if !several {
			root, heavy = "", 0
		}
		t.absorb(n, root, depth, heavy)
		if !several {
			return
		}
	}
}

// widest is the beginning after which the most different tokens follow, and whether there are two at all.
func (n *node[S]) widest(width int64) (root string, several bool) {
	type fork struct{ root, next string }
	seen := make(map[fork]struct{})
	ways := make(map[string]int)
	for _, k := range n.kids {
		if k.heavy(n, width) {
			continue
		}
		text := k.prefix
		for at := range len(text) + 1 {
			if !isBoundary(text, at) || at == len(text) && !k.open || len(text) == 0 && !k.open {
				continue
			}
			end := at + 1
			for end < len(text) && !isBoundary(text, end) {
				end++
			}
			f := fork{text[:at], text[at:min(end, len(text))]}
			if at == len(text) {
				f.next = "\x00" + k.key()
			}
			if _, ok := seen[f]; !ok {
				seen[f] = struct{}{}
				ways[f.root]++
			}
		}
	}
	most := 1
	for r, n := range ways {
		if n > most || n == most && n > 1 && (len(r) > len(root) || len(r) == len(root) && r < root) {
			root, most = r, n
		}
	}
	return root, most > 1
}

// heavy reports whether a segment is so frequent that it keeps its place: at most a quarter of the places can be.
func (k *kid[S]) heavy(n *node[S], width int64) bool {
	return k.counted > 32 && width > 0 && k.counted*width >= 4*n.counted
}

// absorb merges all light kids that begin with root and go on into one, which takes such segments from now on.
func (t *Tree[S]) absorb(n *node[S], root string, depth int, width int64) {
	into := n.kids[absorbKey(root)]
	for _, key := range slices.Sorted(maps.Keys(n.kids)) {
		k := n.kids[key]
		if k == into || len(k.prefix) < len(root) || k.prefix[:len(root)] != root || !k.open && len(k.prefix) == len(root) ||
			k.heavy(n, width) {
			continue
		}
		delete(n.kids, key)
		if into == nil {
			into = k
			continue
		}
		t.places--
		t.mergeKid(into, k, depth)
	}
	if into == nil {
		return
	}
	into.absorbs, into.root = true, root
	if !into.open {
		into.pattern, into.kinds = into.opened(into.shortest), into.kinds|Word
	}
	n.kids[absorbKey(root)] = into
}

// mergeKid adds one kid to another of the same node.
func (t *Tree[S]) mergeKid(into, from *kid[S], depth int) {
	into.shortest = min(into.shortest, from.shortest)
	for _, k := range []*kid[S]{into, from} {
		if !k.open && into.pattern != from.pattern {
			into.kinds |= Word
		}
	}
	into.several = into.several || from.several || into.first != from.first
	into.pattern = join(into.pattern, from.pattern, into.shortest)
	into.kinds |= from.kinds
	into.counted += from.counted
	into.end = t.mergeSum(into.end, from.end)
	into.next = t.mergeNode(into.next, from.next, depth+1)
}

func (t *Tree[S]) mergeSum(into, from *S) *S {
	switch {
	case from == nil:
		return into
	case into == nil:
		return from
	}
	t.merge(into, from)
	return into
}

// mergeNode adds one node to another at the same place.
func (t *Tree[S]) mergeNode(into, from *node[S], depth int) *node[S] {
	switch {
	case from == nil:
		return into
	case into == nil:
		return from
	}
	if into.rest != nil || from.rest != nil {
		t.toRest(into)
		t.toRest(from)
		into.rest = t.mergeSum(into.rest, from.rest)
	}
	into.counted += from.counted
	for _, key := range slices.Sorted(maps.Keys(from.kids)) {
		k := from.kids[key]
		if same := into.kids[key]; same != nil {
			t.places--
			t.mergeKid(same, k, depth)
		} else {
			into.kids[key] = k
		}
	}
	t.giveUp(into, depth, t.wide(depth))
	return into
}

// toRest looks at the tails behind a place no more. A name that ends there has no tail, and stays beside it.
func (t *Tree[S]) toRest(n *node[S]) {
	sum(&n.rest)
	for key, k := range n.kids {
		if key == "" {
			if k.next != nil {
				t.drain(k.next, n.rest)
				k.next = nil
			}
			if k.end != nil {
				continue
			}
		}
		t.drainKid(k, n.rest)
		delete(n.kids, key)
		t.places--
	}
}

func (t *Tree[S]) drain(n *node[S], into *S) {
	if n.rest != nil {
		t.merge(into, n.rest)
	}
	for _, k := range n.kids {
		t.drainKid(k, into)
		t.places--
	}
}

func (t *Tree[S]) drainKid(k *kid[S], into *S) {
	if k.end != nil {
		t.merge(into, k.end)
	}
	if k.next != nil {
		t.drain(k.next, into)
	}
}

// narrow makes room: every place may have half as many segments, in the end fewer of them are told apart.
func (t *Tree[S]) narrow() {
	for t.places > maxPlaces*3/4 && t.deep() > 1 {
		t.narrowing++
		t.narrowNode(t.root, 0)
	}
}

func (t *Tree[S]) narrowNode(n *node[S], depth int) {
	if depth >= t.deep() {
		t.toRest(n)
		return
	}
	t.giveUp(n, depth, t.wide(depth))
	for _, k := range n.kids {
		if k.next != nil {
			t.narrowNode(k.next, depth+1)
		}
	}
}

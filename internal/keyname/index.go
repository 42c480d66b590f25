package keyname

import "bytes"

// node is a part of a trie of the literals that templates begin with. Of a dozen templates a name is compared with one or
// two, and with none where no template begins like it.
type node struct {
	entries  []entry // the templates whose literal ends here
	label    []byte  // the bytes that lead here from the parent
	first    []byte  // the first byte of each child's label
	children []*node
}

// entry is one template of one pair.
type entry struct {
	pair   int
	target bool
	names  *Template
}

// child returns the node that the name's bytes from at on lead to, and moves at behind them.
func (n *node) child(name []byte, at *int) *node {
	if *at == len(name) {
		return nil
	}
	i := bytes.IndexByte(n.first, name[*at])
	if i < 0 || !bytes.HasPrefix(name[*at:], n.children[i].label) {
		return nil
	}
	*at += len(n.children[i].label)
	return n.children[i]
}

// add inserts an entry under the literal of its template.
func (n *node) add(e entry) {
	for literal := e.names.Prefix(); len(literal) > 0; {
		i := bytes.IndexByte(n.first, literal[0])
		if i < 0 {
			n.first = append(n.first, literal[0])
			n.children = append(n.children, &node{label: literal})
			n = n.children[len(n.children)-1]
			break
		}
		next := n.children[i]
		shared := commonLen(next.label, literal)
		if shared < len(next.label) {
			next = next.split(shared)
			n.children[i] = next
		}
		n, literal = next, literal[shared:]
	}
	n.entries = append(n.entries, e)
}

// near appends the pairs of all entries of which the literal begins the other one's: no other template has a name that
// begins with this literal.
func (n *node) near(pairs []int, literal []byte) []int {
	for len(literal) > 0 {
		for _, e := range n.entries {
			pairs = append(pairs, e.pair)
		}
		i := bytes.IndexByte(n.first, literal[0])
		if i < 0 {
			return pairs
		}
		n = n.children[i]
		shared := commonLen(n.label, literal)
		if shared < len(n.label) && shared < len(literal) {
			return pairs
		}
		literal = literal[shared:]
	}
	return n.all(pairs)
}

// all appends the pairs of all entries from here on.
func (n *node) all(pairs []int) []int {
	for _, e := range n.entries {
		pairs = append(pairs, e.pair)
	}
	for _, child := range n.children {
		pairs = child.all(pairs)
	}
	return pairs
}

// split puts a node above n that takes the first bytes of n's label.
func (n *node) split(at int) *node {
	above := &node{label: n.label[:at], first: []byte{n.label[at]}, children: []*node{n}}
	n.label = n.label[at:]
	return above
}

func commonLen(a, b []byte) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

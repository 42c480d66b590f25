package intercept

import (
	"github.com/classwaves/rekey/internal/command"
	"github.com/classwaves/rekey/internal/rewrite"
)

// kind says how the server's replies to an entry are taken.
type kind uint8

const (
	kindPass    kind = iota + 1 // one reply, passed on
	kindDrop                    // one reply, dropped
	kindLocal                   // no reply: the answer is known
	kindCapture                 // one reply, held whole and given to then
	kindLines                   // a reply for each line, or MULTI, lines and EXEC
	kindQueued                  // a reply for each line, inside the application's MULTI
	kindExec                    // the application's EXEC
	kindSubs                    // confirmations of (un)subscriptions
)

// names says what in a reply holds names of keys.
type names uint8

const (
	namesNone    names = iota
	namesFirst         // an array or push whose first element is a name
	namesStreams       // an array of pairs, or a map, of names and entries
	namesScan          // a cursor and an array of names
	namesKeys          // an array of names
	namesOne           // a name
)

// rename maps a physical name in a reply to the name that the application used.
type rename struct{ physical, asked []byte }

// entry is one command of the application, or of the session itself, whose replies
// have not all come.
type entry struct {
	kind    kind
	mute    bool   // the application does not want the reply
	version uint64 // of the table under which it was sent
	rule    int    // of its first key that has one
	mixed   bool   // it has keys that are not of that rule, or reaches keys that it does not name
	write   bool   // changes keys
	denyOOM bool
	class   command.Class
	names   names
	// block: the command may wait on the server, or is tried until it has something.
	block   bool
	waits   bool // the server itself may wait with the reply
	txn     bool
	table   *Table // by which names of a reply are shown
	multi   *multi // of a command inside MULTI, and of EXEC
	after   func() // when the last reply was taken
	lines   []rewrite.Line
	raw     []byte // the command as the application sent it, for whoever needs it again
	renames []rename
	nulls   bool // a null answer is an array's null in RESP2
	script  bool // the answer went through Lua
	count   int  // confirmations that are still to come
	local   []byte
	pattern []byte
	matches bool               // only the names that match pattern are shown, which may be empty
	then    func(reply []byte) // of kindCapture, and of a SELECT inside MULTI
	arena   []byte             // memory of renames
}

func (e *entry) reset() {
	lines, raw, renames, local, arena := e.lines[:0], e.raw[:0], e.renames[:0], e.local[:0], e.arena[:0]
	if cap(raw) > maxKept {
		raw = nil
	}
	if cap(arena) > maxKept {
		arena = nil
	}
	*e = entry{lines: lines, raw: raw, renames: renames, local: local, arena: arena, rule: rewrite.NoRule}
}

// maxKept bounds the memory that a connection keeps for the next command.
const maxKept = 64 << 10

// queue is the entries in the order of the server's replies. Entries are used again.
type queue struct {
	ring       []*entry
	head, size int
	free       []*entry
	// How many entries have come and gone, and how many had when the last one went that the server answered.
	came, went, answered uint64
}

// at is the entry at place i, 0 being the first.
func (q *queue) at(i int) *entry { return q.ring[(q.head+i)%len(q.ring)] }

func (q *queue) front() *entry {
	if q.size == 0 {
		return nil
	}
	return q.ring[q.head]
}

func (q *queue) last() *entry {
	if q.size == 0 {
		return nil
	}
	return q.ring[(q.head+q.size-1)%len(q.ring)]
}

// push appends an empty entry.
func (q *queue) push() *entry {
	if q.size == len(q.ring) {
		grown := make([]*entry, max(8, 2*len(q.ring)))
		for i := range q.size {
			grown[i] = q.ring[(q.head+i)%len(q.ring)]
		}
		q.ring, q.head = grown, 0
	}
	var e *entry
	if n := len(q.free); n > 0 {
		e, q.free = q.free[n-1], q.free[:n-1]
	} else {
		e = new(entry)
	}
	e.reset()
	q.ring[(q.head+q.size)%len(q.ring)] = e
	q.size++
	q.came++
	return e
}

// pop takes the first entry off and gives it back for later use.
func (q *queue) pop() {
	e := q.take()
	if len(q.free) < 64 {
		q.free = append(q.free, e)
	}
}

// take takes the first entry off; the caller keeps it.
func (q *queue) take() *entry {
	e := q.ring[q.head]
	q.ring[q.head] = nil
	q.head = (q.head + 1) % len(q.ring)
	q.size--
	if q.went++; e.kind != kindLocal {
		q.answered = q.went
	}
	return e
}

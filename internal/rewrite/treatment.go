package rewrite

import "github.com/classwaves/rekey/phase"

// op is one command that is added beside the application's for one key.
type op uint8

const (
	copyToTarget  op = iota + 1 // C L P, counted as a fallback where a read needed it
	copyToLegacy                // C P L
	overLegacy                  // COPY P L REPLACE
	dropTarget                  // UNLINK P
	dropLegacy                  // UNLINK L
	bringToTarget               // RENAMENX L P
	bringToLegacy               // RENAMENX P L
)

// treatment is what one phase does with one key.
type treatment struct {
	// onTarget: the application's command runs on P, else on L.
	onTarget bool
	// both: a write changes both copies.
	both bool
	// look: a read of one key asks both names and is answered by the one that
	// exists, so that reads move nothing.
	look bool
	// track: a neighbour may write the name that a read here does not touch.
	track bool
	// read goes before a read (of several keys, where look is set), write before
	// a write that runs once, replay before a write that is sent on both names.
	read, write, replay []op
	// after goes behind a write that runs once.
	after []op
}

// treatments is the protocol: one row a phase, from mirror.go and move.go.
var treatments = func() (t [phase.Count]treatment) {
	for p, row := range mirrorPhases {
		t[p] = row
	}
	for p, row := range movePhases {
		t[p] = row
	}
	return t
}()

// static words of the added commands.
var (
	wordCopy     = []byte("COPY")
	wordReplace  = []byte("REPLACE")
	wordUnlink   = []byte("UNLINK")
	wordRenameNX = []byte("RENAMENX")
	wordExists   = []byte("EXISTS")
	wordEval     = []byte("EVAL")
	wordWatch    = []byte("WATCH")
)

// addOps appends the commands of ops for key k.
func (b *Builder) addOps(k *Key, ops []op) {
	for _, o := range ops {
		switch o {
		case copyToTarget:
			b.add(Copied, k.Rule, wordCopy, k.Legacy, k.Target)
		case copyToLegacy:
			b.add(Homed, k.Rule, wordCopy, k.Target, k.Legacy)
		case overLegacy:
			b.add(Homed, k.Rule, wordCopy, k.Target, k.Legacy, wordReplace)
		case dropTarget:
			b.add(Removed, k.Rule, wordUnlink, k.Target)
		case dropLegacy:
			b.add(Removed, k.Rule, wordUnlink, k.Legacy)
		case bringToTarget:
			b.add(Brought, k.Rule, wordRenameNX, k.Legacy, k.Target)
		case bringToLegacy:
			b.add(Brought, k.Rule, wordRenameNX, k.Target, k.Legacy)
		}
	}
}

// OnTarget says that a phase answers from target names.
func OnTarget(p phase.Phase) bool { return treatments[p].onTarget }

// Names are the two names of a key with a rule in the order in which its phase asks
// them; the same name twice where it asks one.
func Names(k *Key) (first, second []byte) {
	t := &treatments[k.Phase]
	first, second = k.Legacy, k.Target
	if t.onTarget {
		first, second = k.Target, k.Legacy
	}
	if len(t.read) == 0 {
		second = first
	}
	return first, second
}

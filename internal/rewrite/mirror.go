package rewrite

import "github.com/classwaves/rekey/phase"

// mirrorPhases is the table of the mirror strategy: two copies while it lasts. The
// rows stand in the order of the walk, so that each can be read against the two
// beside which it may stand.
//
//	phase     read          write (once)                  write (replayed)
//	legacy    CMD L         CMD L
//	guard     CMD L         CMD L; UNLINK P
//	dual      C L P; CMD P  C L P; CMD P; UNLINK L; C P L  C L P; C P L; CMD P; CMD L
//	settled   CMD P         CMD P; UNLINK L; C P L         C P L; CMD P; CMD L
//	drain     C L P; CMD P  C L P; CMD P; UNLINK L
//	sealed    CMD P         CMD P; UNLINK L
//	prefixed  CMD P         CMD P
//
// Settled needs no C L P in a write that runs once: its gate proved a target copy
// of every logical key, every phase beside it keeps that, and on a server that
// evicts, an L that lost its P is a miss and must not come back.
var mirrorPhases = map[phase.Phase]treatment{
	phase.Legacy: {},
	phase.Guard:  {after: []op{dropTarget}},
	phase.Dual: {
		onTarget: true, both: true, track: true,
		read:   []op{copyToTarget},
		write:  []op{copyToTarget},
		replay: []op{copyToTarget, copyToLegacy},
		after:  []op{dropLegacy, copyToLegacy},
	},
	phase.Settled: {
		onTarget: true, both: true,
		replay: []op{copyToLegacy},
		after:  []op{dropLegacy, copyToLegacy},
	},
	phase.Drain: {
		onTarget: true,
		read:     []op{copyToTarget},
		write:    []op{copyToTarget},
		after:    []op{dropLegacy},
	},
	phase.Sealed:   {onTarget: true, after: []op{dropLegacy}},
	phase.Prefixed: {onTarget: true},
}

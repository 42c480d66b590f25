package rewrite

import "github.com/classwaves/rekey/phase"

// movePhases is the table of the move strategy: always exactly one copy. Legacy and
// prefixed are the rows of mirror.go: both strategies are parked in the same way.
//
//	phase  read                           write
//	hold   EXISTS P; CMD P; CMD L: look   RENAMENX P L; CMD L
//	move   EXISTS P; CMD P; CMD L: look   RENAMENX L P; CMD P
//
// RENAMENX does nothing if its second name exists and answers an error if its first
// is missing; both are as they should be. A read of several keys cannot look, so it
// brings them first. A read that looks moves nothing: reads that moved keys would
// abort every optimistic transaction beside them.
var movePhases = map[phase.Phase]treatment{
	phase.Hold: {
		look: true, track: true,
		read:  []op{bringToLegacy},
		write: []op{bringToLegacy},
	},
	phase.Move: {
		onTarget: true, look: true, track: true,
		read:  []op{bringToTarget},
		write: []op{bringToTarget},
	},
}

package command

import "testing"

func TestPlain(t *testing.T) {
	for call, want := range map[string]bool{
		"GET k": true, "SET k v EX 1": true, "DEL a b": true, "SPOP k": true, "EVAL x 0": true, "SCAN 0": true, "SORT k": true,
		"XREAD COUNT 1 STREAMS k 0": true, "XREAD BLOCK 0 STREAMS k 0": false, "XREAD STREAMS block 0": false,
		"XREADGROUP GROUP g c Block 1 STREAMS k >": false, "BLPOP k 0": false, "BLPOP k": false, "BZPOPMIN k 1": false,
		"PING": true, "CONFIG GET x": true, "SCRIPT LOAD x": true, "INFO": true, "MEMORY USAGE k": true, "MEMORY STATS": true,
		"WAIT 1 0": false, "WAITAOF 1 0 0": false, "DEBUG SLEEP 1": false, "SHUTDOWN": false, "SCRIPT DEBUG YES": false, "FAILOVER": false,
		"MULTI": false, "WATCH k": false, "SELECT 1": false, "AUTH x": false, "HELLO 3": false, "RESET": false, "QUIT": false,
		"CLIENT ID": false, "CLIENT TRACKING ON": false, "CLIENT REPLY OFF": false, "MONITOR": false, "SUBSCRIBE c": false,
		"MIGRATE h 1 k 0 1": false, "SWAPDB 0 1": false, "PSYNC ? -1": false, "READONLY": false, "ASKING": false, "XGROUP": false,
	} {
		args := words(call)
		c, ok := Lookup(args)
		if !ok {
			t.Errorf("%s is not known", call)
			continue
		}
		if got := c.Plain(args); got != want {
			t.Errorf("%s: plain is %v, want %v", call, got, want)
		}
	}
}

// A learned command may do anything to its connection.
func TestLearnedCommandsAreNotPlain(t *testing.T) {
	if (&Command{Name: "x.read", Arity: 2, Flags: ReadOnly}).Plain(words("x.read k")) {
		t.Error("a learned command is plain")
	}
}

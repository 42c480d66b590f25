package difftest

import (
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/resp"
)

// TestSlacks holds that a comparison lets pass what its name says, and nothing beside it.
func TestSlacks(t *testing.T) {
	const skew = 10 * time.Millisecond
	for _, tt := range []struct {
		name      string
		slack     slack
		got, want string
		equal     bool
	}{
		{"bytes", equalBytes, ":1\r\n", ":1\r\n", true},
		{"bytes, another null", equalBytes, "$-1\r\n", "*-1\r\n", false},
		{"unordered", equalUnordered, "*2\r\n:1\r\n:2\r\n", "*2\r\n:2\r\n:1\r\n", true},
		{"unordered, one twice", equalUnordered, "*2\r\n:1\r\n:1\r\n", "*2\r\n:2\r\n:1\r\n", false},
		{"unordered, another type", equalUnordered, "*1\r\n:1\r\n", "~1\r\n:1\r\n", false},
		{"pairs", equalPairsUnordered, "*4\r\n:1\r\n:9\r\n:2\r\n:8\r\n", "*4\r\n:2\r\n:8\r\n:1\r\n:9\r\n", true},
		{"pairs, torn", equalPairsUnordered, "*4\r\n:1\r\n:8\r\n:2\r\n:9\r\n", "*4\r\n:2\r\n:8\r\n:1\r\n:9\r\n", false},
		{"page, unfinished", equalPage, "*2\r\n$1\r\n7\r\n*0\r\n", "*2\r\n$1\r\n0\r\n*0\r\n", false},
		{"page, a name twice", equalPage, "*2\r\n$1\r\n0\r\n*2\r\n$1\r\na\r\n$1\r\na\r\n", "*2\r\n$1\r\n0\r\n*1\r\n$1\r\na\r\n", false},
		{"page of SCAN, a name twice", equalPageOnce, "*2\r\n$1\r\n0\r\n*2\r\n$1\r\na\r\n$1\r\na\r\n", "*2\r\n$1\r\n0\r\n*1\r\n$1\r\na\r\n", true},
		{"page of SCAN, a name missing", equalPageOnce, "*2\r\n$1\r\n0\r\n*0\r\n", "*2\r\n$1\r\n0\r\n*1\r\n$1\r\na\r\n", false},
		{"shape", sameShape, "*1\r\n$1\r\na\r\n", "*1\r\n$1\r\nb\r\n", true},
		{"shape, another number", sameShape, "*1\r\n$1\r\na\r\n", "*2\r\n$1\r\na\r\n$1\r\nb\r\n", false},
		{"shape, a null", sameShape, "$-1\r\n", "$1\r\nb\r\n", false},
		{"times", equalWithinSkew, ":1000\r\n", ":1015\r\n", true},
		{"times, too far", equalWithinSkew, ":1000\r\n", ":1100\r\n", false},
		{"times, none", equalWithinSkew, ":-1\r\n", ":-2\r\n", false},
		{"times, none and some", equalWithinSkew, ":-1\r\n", ":0\r\n", false},
		{"generated ids", equalButTimes, "$15\r\n1795413232170-0\r\n", "$15\r\n1795413232171-3\r\n", true},
		{"ids of the test", equalButTimes, "$15\r\n8000000000000-1\r\n", "$15\r\n8000000000000-2\r\n", false},
		{"idle times", equalButTimes, "*2\r\n$4\r\nidle\r\n:7\r\n", "*2\r\n$4\r\nidle\r\n:9\r\n", true},
		{"not idle times", equalButTimes, "*2\r\n$7\r\npending\r\n:7\r\n", "*2\r\n$7\r\npending\r\n:9\r\n", false},
		{"pending entries", equalButTimes, "*4\r\n$3\r\n1-1\r\n$1\r\nc\r\n:5\r\n:1\r\n", "*4\r\n$3\r\n1-1\r\n$1\r\nc\r\n:6\r\n:1\r\n", true},
		{"pending entries, deliveries", equalButTimes, "*4\r\n$3\r\n1-1\r\n$1\r\nc\r\n:5\r\n:2\r\n", "*4\r\n$3\r\n1-1\r\n$1\r\nc\r\n:6\r\n:1\r\n", false},
		{"Lua", asFromLua, "%2\r\n+a\r\n,0.10000000000000001\r\n+b\r\n$-1\r\n", "%3\r\n+b\r\n_\r\n+a\r\n,0.1\r\n+a\r\n,0.1\r\n", true},
		{"Lua, another value", asFromLua, "%1\r\n+a\r\n:1\r\n", "%1\r\n+a\r\n:2\r\n", false},
		{"Lua, a null missing", asFromLua, "*1\r\n:1\r\n", "*2\r\n:1\r\n_\r\n", false},
	} {
		got, want := parsed(t, tt.got), parsed(t, tt.want)
		if equal := tt.slack(got, want, skew); equal != tt.equal {
			t.Errorf("%s: %q and %q: %v, want %v", tt.name, tt.got, tt.want, equal, tt.equal)
		}
	}
}

func parsed(t *testing.T, reply string) resp.Value {
	t.Helper()
	v, n, err := resp.Parse([]byte(reply))
	if err != nil || n != len(reply) {
		t.Fatalf("%q is no reply: %v", reply, err)
	}
	return v
}

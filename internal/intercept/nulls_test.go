package intercept_test

import (
	"testing"

	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

// Between WATCH and MULTI a read runs inside a script where there are two names. A Lua array ends at its first null of RESP3.
func TestSortOfWhatIsNotThereBehindWatch(t *testing.T) {
	server := redistest.Shared(t)
	for _, p := range allPhases {
		server.Conn().Do("FLUSHALL")
		rules := testRules(t)
		setPhases(rules, p, phase.Legacy)
		client := redistest.NewConn(t, dial(t, server, rules))
		client.Do("HELLO", "3")
		client.Do("RPUSH", "a:q", "v", "w")
		client.Do("WATCH", "other")
		const want = "*2\r\n_\r\n_\r\n" // GET without a * finds nothing
		if got := client.Do("SORT", "a:q", "ALPHA", "GET", "junk"); string(got.Append(nil)) != want {
			t.Errorf("%v: got %q, want %q", p, got.Append(nil), want)
		}
	}
}

package rekey_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/internal/resp"
	"github.com/classwaves/rekey/phase"
)

// TestClosedConnectionsAreNotKept: an application whose connections end with replies outstanding makes
// the instance ask the server about them now and then, so that it does not remember all of them for ever.
func TestClosedConnectionsAreNotKept(t *testing.T) {
	server := redistest.Shared(t)
	r, rdb := open(t, server, rekey.WithPhases(map[string]phase.Phase{"sessions": phase.Prefixed}))
	must(t, rdb.Set(t.Context(), "secure_session:a", "x", 0).Err())
	dial := r.Dialer(nil)
	for range 300 {
		conn, err := dial(t.Context(), "tcp", server.Addr())
		must(t, err)
		if _, err := conn.Write(resp.AppendCommand(nil, []byte("BLPOP"), []byte("secure_session:none"), []byte("0"))); err != nil {
			t.Fatal(err)
		}
		must(t, conn.Close())
	}
	bare := server.Client()
	redistest.WaitFor(t, 20*time.Second, func() bool { return kills(t, bare) >= 250 })
}

// kills is how often the server was asked to close a client.
func kills(t *testing.T, bare *redis.Client) int64 {
	t.Helper()
	stats, err := bare.InfoMap(t.Context(), "commandstats").Result()
	must(t, err)
	var calls int64
	for _, c := range digitsOfCalls(stats["Commandstats"]["cmdstat_client|kill"]) {
		calls = calls*10 + int64(c-'0')
	}
	return calls
}

// digitsOfCalls is the digits behind calls=.
func digitsOfCalls(stat string) string {
	const before = "calls="
	if len(stat) < len(before) {
		return ""
	}
	end := len(before)
	for end < len(stat) && '0' <= stat[end] && stat[end] <= '9' {
		end++
	}
	return stat[len(before):end]
}

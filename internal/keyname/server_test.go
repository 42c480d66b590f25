package keyname_test

import (
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/keyname"
	"github.com/classwaves/rekey/internal/redistest"
)

func TestMain(m *testing.M) { redistest.Main(m) }

// TestGlobMatchAsTheServerDoes asks a real server which of many odd names match many odd patterns.
func TestGlobMatchAsTheServerDoes(t *testing.T) {
	c := redistest.Shared(t).Client()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	draw := func(alphabet string, longest int) string {
		b := make([]byte, r.IntN(longest+1))
		for i := range b {
			b[i] = alphabet[r.IntN(len(alphabet))]
		}
		return string(b)
	}
	names := map[string]bool{"": true}
	for range 300 {
		names[draw("ab-]^\\\x00\x7f\x80\xff[*?{}", 5)] = true
	}
	fill := c.Pipeline()
	for name := range names {
		fill.Set(t.Context(), name, "1", 0)
	}
	if _, err := fill.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	patterns := []string{"*", "**", ""}
	for range 600 {
		patterns = append(patterns, draw("**??[[]]^-\\ab\x00\x7f\x80\xff", 8))
	}
	ask := c.Pipeline()
	var replies []*redis.ScanCmd
	for _, pattern := range patterns {
		// One page holds all names. go-redis leaves out an empty MATCH, so the words are given here.
		cmd := redis.NewScanCmd(t.Context(), ask.Process, "scan", 0, "match", pattern, "count", 10000)
		_ = ask.Process(t.Context(), cmd) // Exec returns its error
		replies = append(replies, cmd)
	}
	if _, err := ask.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	matched := 0
	for i, pattern := range patterns {
		page, cursor := replies[i].Val()
		if cursor != 0 {
			t.Fatalf("%q: the scan has more pages", pattern)
		}
		found := map[string]bool{}
		for _, name := range page {
			found[name] = true
		}
		matched += len(found)
		for name := range names {
			if got := keyname.GlobMatchKey([]byte(pattern), []byte(name)); got != found[name] {
				t.Errorf("pattern %q, name %q: got %v, the server says %v", pattern, name, got, found[name])
			}
		}
	}
	if matched < 1000 {
		t.Errorf("only %d matches: the test compares too little", matched)
	}
}

// TestSlotAsTheServerDoes asks a real server for the slots of odd names, and of their co-located targets.
func TestSlotAsTheServerDoes(t *testing.T) {
	c := redistest.Shared(t, redistest.WithConfig("cluster-enabled yes")).Client()
	pair := catchAll(t)
	for i := range 400 {
		name := []byte(strconv.Itoa(i * 7919))
		for j, part := range []string{"{", "}", "{}", "\x00", "{a}"} {
			if i>>j&1 == 1 {
				name = append([]byte(part), append(name, part...)...)
			}
		}
		target, ok := pair.AppendTarget(nil, name)
		if !ok {
			t.Fatalf("%q has no target", name)
		}
		for _, n := range [][]byte{name, target} {
			slot, err := c.ClusterKeySlot(t.Context(), string(n)).Result()
			if err != nil {
				t.Fatal(err)
			}
			if got := keyname.Slot(n); int64(got) != slot || got != keyname.Slot(name) {
				t.Errorf("%q: got slot %d, the server says %d, and the legacy name is in %d", n, got, slot, keyname.Slot(name))
			}
		}
	}
}

func catchAll(t *testing.T) *keyname.Pair {
	t.Helper()
	legacy, err := keyname.Parse("{key...}", "prod")
	if err != nil {
		t.Fatal(err)
	}
	target, err := keyname.Parse("cw:{env}:{key...}", "prod")
	if err != nil {
		t.Fatal(err)
	}
	p, err := keyname.NewPair("all", legacy, target, true)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

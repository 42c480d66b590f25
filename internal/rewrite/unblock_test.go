package rewrite_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/classwaves/rekey/internal/command"
	"github.com/classwaves/rekey/internal/rewrite"
)

func TestUnblocked(t *testing.T) {
	for _, tt := range []struct {
		call, want string
		keys       []int
	}{
		{"blpop k1 k2 0.1", "lpop* k1 k2", []int{1, 2}},
		{"BRPOP k1 0", "RPOP* k1", []int{1}},
		{"bzpopmin k1 k2 0", "zpopmin* k1 k2", []int{1, 2}},
		{"bzpopmax k1 0", "zpopmax* k1", []int{1}},
		{"blmpop 0.1 2 k1 k2 left count 3", "LMPOP 2 k1 k2 left count 3", []int{2, 3}},
		{"bzmpop 0 1 k1 max", "ZMPOP 1 k1 max", []int{2}},
		{"blmove k1 k2 left right 0", "LMOVE k1 k2 left right", []int{1, 2}},
		{"brpoplpush k1 k2 0", "RPOPLPUSH k1 k2", []int{1, 2}},
		{"xread count 2 block 5 streams k1 k2 0 0", "xread count 2 streams k1 k2 0 0", []int{4, 5}},
		{"xreadgroup group g c block 5 noack streams k1 >", "xreadgroup group g c noack streams k1 >", []int{6}},
	} {
		args := bytes.Fields([]byte(tt.call))
		c, ok := command.Lookup(args)
		if !ok {
			t.Fatalf("%s is not in the table", tt.call)
		}
		at, err := c.Keys(nil, args)
		if err != nil {
			t.Fatalf("%s: %v", tt.call, err)
		}
		blocking := rewrite.Command{Args: args, Use: c.Use(args)}
		for _, k := range at {
			blocking.Keys = append(blocking.Keys, rewrite.Key{Arg: k.Arg, Rule: rewrite.NoRule})
		}
		got, ok := rewrite.Unblocked(&blocking)
		if words := string(bytes.Join(got.Args, []byte(" "))); !ok || words != tt.want {
			t.Errorf("Unblocked(%s) = %s, %v, want %s", tt.call, words, ok, tt.want)
		}
		for i, k := range got.Keys {
			if k.Arg != tt.keys[i] || !strings.HasPrefix(string(got.Args[k.Arg]), "k") {
				t.Errorf("Unblocked(%s): key %d is word %d, want %d", tt.call, i, k.Arg, tt.keys[i])
			}
		}
		if got.Use.Block != 0 || blocking.Use.Block == 0 {
			t.Errorf("Unblocked(%s) blocks", tt.call)
		}
		if string(bytes.Join(args, []byte(" "))) != tt.call {
			t.Errorf("Unblocked(%s) changed the words of its argument", tt.call)
		}
	}
	if _, ok := rewrite.Unblocked(&rewrite.Command{Args: bytes.Fields([]byte("bnosuch k 0"))}); ok {
		t.Error("a blocking command that nobody knows has a form")
	}
}

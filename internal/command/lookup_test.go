package command

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// words splits a line into arguments; "" and "\n" stand for themselves.
func words(line string) [][]byte {
	var args [][]byte
	for _, w := range strings.Fields(line) {
		if w == `""` {
			w = ""
		}
		args = append(args, []byte(w))
	}
	return args
}

func TestLookup(t *testing.T) {
	for _, tt := range []struct{ line, want string }{
		{"get k", "get"},
		{"GeT k", "get"},
		{"XGROUP CREATE k g $", "xgroup create"},
		{"xgroup nosuch k", "xgroup"},
		{"XGROUP", "xgroup"},
		{"CLIENT NO-EVICT on", "client no-evict"},
		{"bitfield_ro k", "bitfield_ro"},
		{"hgetex k fields 1 f", "hgetex"},
		{"nosuchcommand k", ""},
		{"ge t", ""},
		{"get\x00 k", ""},
		{strings.Repeat("x", 1<<16), ""},
		{"", ""},
	} {
		got := ""
		if c, ok := Lookup(words(tt.line)); ok {
			got = c.Name
		}
		if got != tt.want {
			t.Errorf("Lookup(%.40q) = %q, want %q", tt.line, got, tt.want)
		}
	}
}

// TestLookupFindsAll: no command hides another in the index.
func TestLookupFindsAll(t *testing.T) {
	all := All()
	if len(all) < 400 {
		t.Fatalf("the table has %d commands, want at least 400", len(all))
	}
	for _, c := range all {
		got, ok := Lookup(words(strings.ToUpper(c.Name)))
		if !ok || got != c {
			t.Errorf("Lookup(%q) does not give the command itself", c.Name)
		}
	}
}

// TestNoAllocation: every command of every connection passes here.
func TestNoAllocation(t *testing.T) {
	dst := make([]Key, 0, 8)
	for _, line := range []string{
		"GET k", "SET k v EX 10 NX", "XGROUP CREATE k g $", "EVAL script 2 a b c",
		"XREADGROUP GROUP g c COUNT 1 STREAMS a b > >", "SORT k BY nosort STORE d", "NOSUCH k",
	} {
		args := words(line)
		if n := testing.AllocsPerRun(100, func() {
			if c, ok := Lookup(args); ok {
				dst, _ = c.Keys(dst[:0], args)
				_ = c.Use(args)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations, want 0", line, n)
		}
	}
}

func TestKeys(t *testing.T) {
	for _, tt := range []struct{ line, want string }{
		{"get k", "1r"},
		{"set k v", "1rw"},
		{"mset a 1 b 2", "1w 3w"},
		{"mget a b a", "1r 2r 3r"},
		{"del a b", "1w 2w"},
		{"rename a b", "1rw 2w"},
		{"copy a b DB 1", "1r 2w"},
		{"bitop and d a b", "2w 3r 4r"},
		{"eval s 2 a b x", "3rw 4rw"},
		{"eval s 0 x", ""},
		{"eval s 3 a b", "error"},
		{"eval s -1 a", "error"},
		{"eval s 01 a", "error"},
		{"eval s 9223372036854775807 a", "error"},
		{"eval s 999999999999999999 a", "error"},
		{"evalsha_ro s 1 a x", "3r"},
		{"fcall f 1 a x", "3rw"},
		{"xread COUNT 2 BLOCK 0 STREAMS a b 0 $", "6r 7r"},
		{"xread STREAMS a b 0", "error"},
		{"xread COUNT 2", "error"},
		{"xread NOSUCH STREAMS a 0", "error"},
		{"xreadgroup GROUP STREAMS c STREAMS a >", "5rw"},
		{"xreadgroup COUNT 1 GROUP STREAMS STREAMS NOACK STREAMS a b > >", "8rw 9rw"},
		{"xreadgroup GROUP g c CLAIM 10 STREAMS a >", "7rw"},
		{"sort k", "1r"},
		{"sort k LIMIT 0 STORE", "1r"},
		{"sort k BY STORE STORE d", "1r 5w"},
		{"sort k STORE d STORE e", "1r 5w"},
		{"sort_ro k BY STORE", "1r"},
		{"migrate h 1 k 0 10", "3rw"},
		{`migrate h 1 "" 0 10 COPY AUTH KEYS KEYS a b`, "10rw 11rw"},
		{"migrate h 1 k 0 10 KEYS a", "error"},
		{"zunionstore d 2 a b WEIGHTS 1 2", "1w 3r 4r"},
		{"zunionstore d 3 a b", "error"},
		{"zdiff 1 a WITHSCORES", "2r"},
		{"lmpop 2 a b LEFT", "2rw 3rw"},
		{"blmpop 0 2 a b LEFT COUNT 3", "3rw 4rw"},
		{"sintercard 2 a b LIMIT 1", "2r 3r"},
		{"blpop a b 0", "1rw 2rw"},
		{"georadius k 1 2 3 m", "1r"},
		{"georadius k 1 2 3 m COUNT 3 STORE d STOREDIST e", "1r 9w 11w"},
		{"georadiusbymember k STORE 3 m STORE d", "1r 6w"},
		{"object encoding k", "2r"},
		{"memory usage k SAMPLES 3", "2r"},
		{"xgroup create k g $", "2rw"},
		{"xinfo stream k", "2r"},
		{"pfdebug getreg k", "2rw"},
		{"pfcount a b", "1rw 2rw"},
		{"debug object k", "2r"},
		{"debug digest-value a b", "2r 3r"},
		{"debug sleep 0", ""},
		{"hexpire k 10 FIELDS 1 f", "1rw"},
		{"subscribe c", ""},
		{"ssubscribe c", ""},
		{"spublish c m", ""},
		{"watch a b", "1r 2r"},
		{"vsim k ELE e", "1r"},
		{"msetex 2 a 1 b 2 EX 5", "2w 4w"},
		{"msetex 3 a 1 b 2", "error"},
		{"get", "error"},
		{"get a b", "error"},
		{"ping", ""},
	} {
		args := words(tt.line)
		c, ok := Lookup(args)
		if !ok {
			t.Errorf("%s: not in the table", tt.line)
			continue
		}
		if got := keysText(c, args); got != tt.want {
			t.Errorf("Keys(%s) = %q, want %q", tt.line, got, tt.want)
		}
	}
}

func keysText(c *Command, args [][]byte) string {
	keys, err := c.Keys(nil, args)
	if errors.Is(err, ErrArity) || errors.Is(err, ErrSyntax) {
		return "error"
	}
	if err != nil {
		return err.Error()
	}
	var list []string
	for _, k := range keys {
		list = append(list, fmt.Sprintf("%d%s", k.Arg, k.Access))
	}
	return strings.Join(list, " ")
}

func FuzzKeys(f *testing.F) {
	for _, line := range []string{"eval s 2 a b", "xread STREAMS a 0", "sort k BY *->f GET # STORE d", "msetex 2 a 1 b 2", "migrate h 1 k 0 1 AUTH2"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		args := words(line)
		c, ok := Lookup(args)
		if !ok {
			return
		}
		keys, _ := c.Keys(nil, args)
		for _, k := range keys {
			if k.Arg < 1 || k.Arg >= len(args) {
				t.Errorf("%q: key at %d of %d arguments", line, k.Arg, len(args))
			}
		}
		if u := c.Use(args); u.Block < 0 || u.Block >= len(args) && u.Block > 0 {
			t.Errorf("%q: timeout at %d of %d arguments", line, u.Block, len(args))
		}
		c.NullArray(args)
	})
}

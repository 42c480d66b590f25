package command

import (
	"slices"
	"strings"
	"testing"

	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/internal/resp"
)

func TestMain(m *testing.M) { redistest.Main(m) }

// TestServerCommandsAreJudged fails when the server at hand has a command that
// nobody has thought about.
func TestServerCommandsAreJudged(t *testing.T) {
	for _, info := range serverCommands(t, redistest.Shared(t)) {
		c, ok := Lookup(words(info.Name))
		if !ok || c.Name != info.Name {
			t.Errorf("%s is not in the table: generate it from this server", info.Name)
			continue
		}
		if c.rule == nil {
			t.Errorf("%s is in no family of families.go", info.Name)
		}
	}
}

// older are facts of the table in which an older server differs, because the
// newest one is believed.
var older = map[string]string{
	"zrank":                   "WITHSCORE came with 7.2",
	"zrevrank":                "WITHSCORE came with 7.2",
	"command getkeys":         "commands without arguments are allowed from 7.2 on",
	"command getkeysandflags": "commands without arguments are allowed from 7.2 on",
	"sinterstore":             "7.0 says that the destination is read",
}

// TestFromInfo holds that what a server says is read as the generator read it.
func TestFromInfo(t *testing.T) {
	for _, info := range serverCommands(t, redistest.Shared(t)) {
		c, ok := Lookup(words(info.Name))
		if !ok || older[info.Name] != "" {
			continue
		}
		if info.Arity != c.Arity {
			t.Errorf("%s: arity %d, the table has %d", info.Name, info.Arity, c.Arity)
		}
		const judged = Write | ReadOnly | MovableKeys
		if got, want := info.Flags&judged, c.Flags&judged; got != want {
			t.Errorf("%s: flags %q, the table has %q", info.Name, got, want)
		}
		if got, want := judgedSpecs(c, info.Specs), judgedSpecs(c, c.Specs); !slices.Equal(got, want) {
			t.Errorf("%s: key specifications %+v, the table has %+v", info.Name, got, want)
		}
	}
}

// judgedSpecs leaves out whether a specification is complete where c's keys are
// found by this package: Debian's updates of one and the same version differ in
// whether they say so (8.0.2 of XREAD and GEORADIUS), and nothing follows from it.
func judgedSpecs(c *Command, specs []Spec) []Spec {
	if c.rule == nil || c.rule.keys == nil {
		return specs
	}
	judged := slices.Clone(specs)
	for i := range judged {
		judged[i].Flags &^= Incomplete
	}
	return judged
}

// stricterGetKeys are the commands that run where GETKEYS finds fault.
var stricterGetKeys = map[string]string{
	"pfmerge": "PFMERGE without a source runs, and makes the destination",
	"migrate": "MIGRATE with KEYS for the password and no keys sends the key of the empty name",
}

// TestKeysLikeServer asks the server for the keys of every reviewed call that it
// knows, and of all its beginnings: equal keys in equal order, and a key that
// the server says is written is written here.
func TestKeysLikeServer(t *testing.T) {
	s := redistest.Shared(t)
	conn := s.Conn()
	asked := make(map[string]bool)
	lines := append(calls(t),
		`migrate 127.0.0.1 1 "" 0 1 copy replace auth keys keys a b`,
		`migrate 127.0.0.1 1 "" 0 1 auth2 keys keys keys a`,
		"migrate 127.0.0.1 1 k 0 1 copy",
		"sort k by x store d limit 0 1 store e", "sort k get store", "sort_ro k by store get #",
		"zunionstore d 3 a b", "zunionstore d x a b", "zunionstore d 1 a b", "zdiffstore d 0 a",
		"eval s 1", "eval s -1 a", "eval s x a", "eval s 2 a b c", "fcall f 9223372036854775807 a",
		"xread count 2 streams a b c 0 0 0", "xread streams a b 0", "xread block 0 streams s 0",
		"xreadgroup group streams c noack streams a b > >",
		"georadius k 1 2 3 m asc store", "blmpop 0 1 a left", "lmpop 1 left", "sintercard 1 k limit 5",
		"object help", "xinfo help", "memory usage k", "bitop not d a", "mset a 1 b", "set k v get",
	)
	for _, line := range lines {
		full := strings.Fields(strings.ReplaceAll(line, `""`, "\x00"))
		for i := range full {
			full[i] = strings.ReplaceAll(full[i], "\x00", "")
		}
		for n := 1; n <= len(full); n++ {
			if c := compareKeys(t, conn, full[:n]); c != nil && n == len(full) {
				asked[c.Name] = true
			}
		}
	}
	for _, info := range serverCommands(t, s) {
		if info.TakesKeys() && !asked[info.Name] {
			t.Errorf("%s takes keys and no call of it was compared with the server", info.Name)
		}
	}
}

// compareKeys gives the command if the server knows it.
func compareKeys(t *testing.T, conn *redistest.Conn, call []string) *Command {
	t.Helper()
	args := make([][]byte, len(call))
	for i := range call {
		args[i] = []byte(call[i])
	}
	c, ok := Lookup(args)
	if !ok {
		t.Errorf("%q: not in the table", call)
		return nil
	}
	reply := conn.Do(append([]string{"COMMAND", "GETKEYSANDFLAGS"}, call...)...)
	text := string(reply.Str)
	if strings.Contains(text, "Invalid command specified") {
		return nil // a command of other servers
	}
	if c.Name == "debug" {
		return nil // no server describes the keys of DEBUG
	}
	got, err := c.Keys(nil, args)
	none := reply.Type == '-' // no keys, or arguments that it does not like
	if err != nil || none && len(got) > 0 {
		// One side says that the call is malformed: then it must fail when it
		// runs, so that its keys do not matter.
		if err == nil && len(got) == 1 && stricterGetKeys[c.Name] != "" {
			return c
		}
		if ran := conn.Do(call...); ran.Type != '-' {
			t.Errorf("%q: keys %v, %v; GETKEYS says %q and the server runs it: %q", call, got, err, text, ran.Str)
		}
		return c
	}
	if none {
		return c
	}
	if len(got) != len(reply.Elems) {
		t.Errorf("%q: keys %v, the server has %d", call, got, len(reply.Elems))
		return c
	}
	for i, k := range got {
		key, flags := reply.Elems[i].Elems[0], reply.Elems[i].Elems[1].Elems
		if string(args[k.Arg]) != string(key.Str) {
			t.Errorf("%q: key %d is %q, the server says %q", call, i, args[k.Arg], key.Str)
		}
		written := slices.ContainsFunc(flags, func(v resp.Value) bool {
			return slices.Contains([]string{"RW", "OW", "RM"}, string(v.Str))
		})
		// Servers describe every module command as writing its keys.
		readOnlyModule := c.Flags&Module != 0 && c.Flags&ReadOnly != 0
		if written && k.Access&AccessWrite == 0 && !readOnlyModule {
			t.Errorf("%q: key %q is only read, the server says it is written", call, key.Str)
		}
		// Reading for a group writes the group, and the server says it reads.
		groupRead := c.Name == "xreadgroup"
		if !written && k.Access&AccessWrite != 0 && !groupRead && c.Use(args).Class != ClassRead {
			t.Errorf("%q: key %q is written, the server says it is only read", call, key.Str)
		}
	}
	return c
}

// TestNullArray runs every reviewed call on an empty server, and some on data,
// and compares the nulls that come back.
func TestNullArray(t *testing.T) {
	conn := redistest.Start(t).Conn()
	seen := 0
	check := func(line string) {
		call := strings.Fields(line)
		args := words(line)
		c, ok := Lookup(args)
		if !ok {
			t.Fatalf("%s: not in the table", line)
		}
		switch c.Use(args).Class {
		case ClassNone, ClassSession, ClassRefuse:
			return // no reply about a key, or none at all
		}
		conn.Send(call...)
		raw := string(conn.ReadRaw())
		if raw != "*-1\r\n" && raw != "$-1\r\n" {
			return
		}
		seen++
		if got, want := c.NullArray(args), raw == "*-1\r\n"; got != want {
			t.Errorf("NullArray(%s) = %v, the server answers %q", line, got, raw)
		}
	}
	for _, line := range calls(t) {
		conn.Do("FLUSHALL")
		check(line)
	}
	conn.Do("FLUSHALL")
	conn.Do("XADD", "x", "1-1", "f", "v")
	conn.Do("XGROUP", "CREATE", "x", "g", "$")
	conn.Do("ZADD", "z", "1", "m")
	conn.Do("RPUSH", "l", "a")
	conn.Do("SET", "s", "v")
	for _, line := range []string{
		"xrange x - + count 0", "xrevrange x + - count 0", "xread streams x 1-1", "xreadgroup group g c streams x >",
		"zrank z n", "zrevrank z n", "zrank z n withscore", "zscore z n", "zadd z nx incr 1 m", "geodist z a b",
		"lindex l 9", "lpos l b", "lpop l 0", "rpop l 0", "set s v nx", "set t v xx get", "object freq t",
	} {
		check(line)
	}
	if seen < 60 {
		t.Errorf("%d calls answered with a null, want at least 60: the calls test nothing", seen)
	}
}

// serverCommands are all commands of a server with their subcommands.
func serverCommands(t *testing.T, s *redistest.Server) []*Command {
	t.Helper()
	var all []*Command
	for _, element := range s.Conn().Do("COMMAND").Elems {
		c, err := FromInfo(valueOf(element))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
		all = append(all, c.Subs...)
	}
	if len(all) < 300 {
		t.Fatalf("the server has %d commands, want at least 300", len(all))
	}
	return all
}

func valueOf(v resp.Value) Value {
	out := Value{Text: string(v.Str), Int: v.Int}
	for _, e := range v.Elems {
		out.List = append(out.List, valueOf(e))
	}
	return out
}

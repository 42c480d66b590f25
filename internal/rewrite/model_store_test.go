package rewrite

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/classwaves/rekey/internal/command"
)

// This file is the server of the model: a map of names to values and the few commands
// that the model sends. Data is opaque. A write makes a text of what was there and of
// its own words, so equal data under equal commands stays equal and everything else
// differs, whatever its type on a real server.
//
// What a server chooses for itself (SPOP's member, XADD's identifier, the moment from
// which a relative TTL counts) is a number that grows with each such command, so that
// running one twice never gives the same twice.

// value is what one name holds.
type value struct {
	data string // never empty
	ttl  int    // the moment of expiry, 0: none
}

// The replies that are not an int, a string, a nil or an []any.
type (
	status  string
	failure string
)

const (
	outOfMemory = failure("OOM command not allowed when used memory > 'maxmemory'.")
	noSuchKey   = failure("ERR no such key")
)

// freshTTL is the first expiry that a command sets; below are those of the state.
const freshTTL = 100

// store is a server with a few keys.
type store struct {
	keys    map[string]value
	touched map[string]bool // names that were changed
	frozen  bool            // the clock stands still inside a transaction
	full    bool            // memory is: no command may take more of it
	last    bool            // SPOP takes the last member
	chosen  int             // how many choices the server made
	script  *interpreter
}

func newStore() *store {
	return &store{keys: map[string]value{}, touched: map[string]bool{}}
}

// choose is the server's next choice.
func (s *store) choose() int {
	s.chosen++
	return s.chosen - 1
}

// clock is the moment from which a relative TTL counts.
func (s *store) clock() int {
	if s.frozen {
		return freshTTL
	}
	return freshTTL + s.choose()
}

func (s *store) put(name string, v value) {
	s.keys[name] = v
	s.touched[name] = true
}

func (s *store) remove(name string) int {
	if _, ok := s.keys[name]; !ok {
		return 0
	}
	delete(s.keys, name)
	s.touched[name] = true
	return 1
}

// change puts a text behind the data of a name, which may be missing.
func (s *store) change(name, text string) {
	v := s.keys[name]
	v.data += text
	s.put(name, v)
}

// do runs one command.
func (s *store) do(words [][]byte) any {
	if s.full && deniedWhenFull(words) {
		return outOfMemory
	}
	return s.run(words)
}

func deniedWhenFull(words [][]byte) bool {
	c, ok := command.Lookup(words)
	return !ok || c.Flags&command.DenyOOM != 0
}

func (s *store) run(words [][]byte) any {
	name := strings.ToUpper(string(words[0]))
	args := make([]string, len(words)-1)
	for i, w := range words[1:] {
		args[i] = string(w)
	}
	if name == "EVAL" {
		return s.eval(args)
	}
	f, ok := storeCommands[name]
	if !ok {
		panic("the model's server does not know " + name)
	}
	key := args[0]
	v, there := s.keys[key]
	return f(s, key, v, there, args[1:])
}

// storeCommands are the commands on a first key, the value it holds, if there is one,
// and the words behind it.
var storeCommands = map[string]func(s *store, key string, v value, there bool, rest []string) any{
	"GET": func(_ *store, _ string, v value, there bool, _ []string) any {
		if !there {
			return nil
		}
		return v.data
	},
	"MGET": func(s *store, key string, _ value, _ bool, rest []string) any {
		var out []any
		for _, k := range append([]string{key}, rest...) {
			if v, ok := s.keys[k]; ok {
				out = append(out, v.data)
			} else {
				out = append(out, nil)
			}
		}
		return out
	},
	"EXISTS": countNames, "TOUCH": countNames,
	"DEL": removeNames, "UNLINK": removeNames,
	"SET": func(s *store, key string, _ value, there bool, rest []string) any {
		set := value{data: rest[0]}
		for _, word := range rest[1:] {
			switch word {
			case "NX", "XX":
				if there == (word == "NX") {
					return nil
				}
			case "PX":
				set.ttl = s.clock()
			}
		}
		s.put(key, set)
		return status("OK")
	},
	"MSET": func(s *store, key string, _ value, _ bool, rest []string) any {
		s.put(key, value{data: rest[0]})
		for i := 1; i < len(rest); i += 2 {
			s.put(rest[i], value{data: rest[i+1]})
		}
		return status("OK")
	},
	// INCR's answer tells all of what was there.
	"INCR": func(s *store, key string, _ value, _ bool, _ []string) any {
		s.change(key, "+1")
		return s.keys[key].data
	},
	"SADD": func(s *store, key string, _ value, _ bool, rest []string) any {
		s.change(key, " and "+rest[0])
		return 1
	},
	"SMEMBERS": func(_ *store, _ string, v value, _ bool, _ []string) any {
		return v.data
	},
	"GETDEL": func(s *store, key string, v value, there bool, _ []string) any {
		if !there {
			return nil
		}
		s.remove(key)
		return v.data
	},
	"PEXPIRE": func(s *store, key string, v value, there bool, _ []string) any {
		return s.expireAt(key, v, there, s.clock())
	},
	"PEXPIREAT": func(s *store, key string, v value, there bool, rest []string) any {
		at, err := strconv.Atoi(rest[0])
		if err != nil {
			return failure("ERR value is not an integer or out of range")
		}
		return s.expireAt(key, v, there, at)
	},
	"PEXPIRETIME": func(_ *store, _ string, v value, there bool, _ []string) any {
		switch {
		case !there:
			return -2
		case v.ttl == 0:
			return -1
		}
		return v.ttl
	},
	"PERSIST": func(s *store, key string, v value, there bool, _ []string) any {
		if !there || v.ttl == 0 {
			return 0
		}
		return s.expireAt(key, v, there, 0)
	},
	// SPOP's last member is named after all that there is.
	"SPOP": func(s *store, key string, v value, there bool, _ []string) any {
		switch {
		case !there:
			return nil
		case s.last:
			s.remove(key)
			return "last of " + v.data
		}
		member := fmt.Sprint("member ", s.choose())
		s.change(key, " without "+member)
		return member
	},
	"SREM": func(s *store, key string, v value, there bool, rest []string) any {
		switch {
		case !there:
			return 0
		case rest[0] == "last of "+v.data:
			return s.remove(key)
		case strings.Contains(v.data, " without "+rest[0]):
			return 0
		}
		s.change(key, " without "+rest[0])
		return 1
	},
	"XADD": func(s *store, key string, _ value, _ bool, rest []string) any {
		id := rest[0]
		if id == "*" {
			id = fmt.Sprint("7-", s.choose())
		}
		s.change(key, " with "+id)
		return id
	},
	"XLEN": countNames,
	"XTRIM": func(*store, string, value, bool, []string) any {
		return 0 // its entries are as many as they should be
	},
	"XAUTOCLAIM": func(s *store, key string, _ value, there bool, _ []string) any {
		if !there {
			return failure("NOGROUP")
		}
		claim := fmt.Sprint("claim ", s.choose())
		s.change(key, " "+claim)
		return claim
	},
	"COPY": func(s *store, key string, v value, there bool, rest []string) any {
		_, taken := s.keys[rest[0]]
		if !there || taken && len(rest) == 1 {
			return 0
		}
		s.put(rest[0], v)
		return 1
	},
	"RENAME": func(s *store, key string, v value, there bool, rest []string) any {
		if !there {
			return noSuchKey
		}
		if key != rest[0] {
			s.remove(key)
		}
		s.put(rest[0], v)
		return status("OK")
	},
	"RENAMENX": func(s *store, key string, v value, there bool, rest []string) any {
		if !there {
			return noSuchKey
		}
		if _, taken := s.keys[rest[0]]; taken {
			return 0
		}
		s.remove(key)
		s.put(rest[0], v)
		return 1
	},
}

func countNames(s *store, key string, _ value, _ bool, rest []string) any {
	n := 0
	for _, k := range append([]string{key}, rest...) {
		if _, ok := s.keys[k]; ok {
			n++
		}
	}
	return n
}

func removeNames(s *store, key string, _ value, _ bool, rest []string) any {
	n := 0
	for _, k := range append([]string{key}, rest...) {
		n += s.remove(k)
	}
	return n
}

func (s *store) expireAt(key string, v value, there bool, at int) any {
	if !there {
		return 0
	}
	v.ttl = at
	s.put(key, v)
	return 1
}

// clone is a server with the same keys that made no choice yet.
func (s *store) clone() *store {
	c := *s
	c.keys, c.touched, c.chosen = maps.Clone(s.keys), map[string]bool{}, 0
	return &c
}

// show is a reply as a history shows it.
func show(reply any) string {
	switch r := reply.(type) {
	case nil:
		return "nothing"
	case []any:
		parts := make([]string, len(r))
		for i, e := range r {
			parts[i] = show(e)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case failure:
		return "error " + string(r)
	case string:
		return strconv.Quote(r)
	default:
		return fmt.Sprint(r)
	}
}

// sortedNames are the names of a store in a fixed order.
func (s *store) sortedNames() []string { return slices.Sorted(maps.Keys(s.keys)) }

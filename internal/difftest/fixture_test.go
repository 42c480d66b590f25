package difftest

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"strings"
)

// fixtures make the key %k of each type, in the order of types. Keys with the suffix 1 exist when
// a sequence begins, keys with 2 do not.
var fixtures = map[byte][]string{
	's': {"set %k hello"},
	'n': {"set %k 10 pxat 4100000000123"},
	'b': {"setbit %k 7 1", "setbit %k 20 1"},
	'h': {"hset %k f1 1 f2 two f3 3 n 7"},
	'l': {"rpush %k a b c 1 2 a"},
	'e': {"sadd %k m1 m2 m3 4 5"},
	'z': {"zadd %k 1 m1 2 m2 2.5 m3 4 4"},
	'g': {"geoadd %k 13.361389 38.115556 palermo 15.087269 37.502669 catania 13.583333 37.316667 agrigento"},
	'p': {"pfadd %k v1 v2 x y z"},
	'x': {
		"xadd %k 8000000000000-1 f v", "xadd %k 8000000000000-2 f w g x", "xadd %k 8000000000000-3 f v",
		"xgroup create %k g1 0", "xreadgroup group g1 c1 count 2 streams %k >",
	},
	'w': {"vadd %k values 3 1 0 0 m1", "vadd %k values 3 0 1 0 m2", "vadd %k values 3 0 0 1 m3"},
}

// settings of both servers. The data of the fixtures are big enough for the encodings of big data:
// some keys are above the limits and some below. And a server notices at the next tick only that a
// client has waited long enough.
var settings = []string{
	"hz 500",
	"hash-max-listpack-entries 3", "zset-max-listpack-entries 3", "set-max-intset-entries 3", "list-max-listpack-size 4",
}

// loaded are the names that exist when a sequence begins.
func loaded() (names []string) {
	for i := range types {
		for _, rule := range []string{"a", "b", "n"} {
			names = append(names, fmt.Sprintf("%s:%c1", rule, types[i]))
		}
	}
	return names
}

// fixtureOf are the commands that make a key.
func fixtureOf(name, key string) (commands [][]string) {
	for _, line := range fixtures[name[2]] {
		commands = append(commands, strings.Fields(strings.ReplaceAll(line, "%k", key)))
	}
	return commands
}

// text is what a word with @ stands for; other words stand for themselves. Payloads are what DUMP
// gave for a key of a type: they differ by server version.
func (w *world) text(word string) string {
	if script, ok := strings.CutPrefix(word, "@sha-"); ok {
		sum := sha1.Sum([]byte(texts["@script-"+script]))
		return hex.EncodeToString(sum[:])
	}
	if letter, ok := strings.CutPrefix(word, "@payload-"); ok {
		return w.payloads[letter[0]]
	}
	if t, ok := texts[word]; ok {
		return t
	}
	return word
}

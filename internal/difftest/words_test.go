package difftest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// word is one word of a command. A text of several words stands as its @ name. A key is kept as the application's logical name, in its legacy
// form; spelled says that the application writes its target name here.
type word struct {
	text    string
	key     bool
	spelled bool
}

// targetOf is the target name of a logical key: rules a and b of world_test.go.
func targetOf(name string) string { return "cw:test:" + name }

func ruled(name string) bool { return strings.HasPrefix(name, "a:") || strings.HasPrefix(name, "b:") }

// physical is the word as the application writes it.
func (w word) physical() string {
	if w.spelled {
		return targetOf(w.text)
	}
	return w.text
}

// types are the letters of key types, in the order of the fixtures.
const types = "snbhlezgpx"

// ids of the keys of each type. A list with a name twice makes it twice as likely.
var ids = []string{"a:%s1", "a:%s1", "a:%s1", "a:%s2", "a:%s2", "b:%s1", "b:%s1", "b:%s2", "n:%s1"}

// arguments are what the letters stand for that are no key types.
var arguments = map[byte][]string{
	'v': {"v1", "v2", "10", "", "hello world"},
	'f': {"f1", "f2", "f3", "nf"},
	'm': {"m1", "m2", "m3", "4", "nm"},
	'i': {"-2", "-1", "0", "1", "2", "3", "100"},
	'u': {"0", "1", "2", "3"},
	'c': {"1", "2", "3"},
	'd': {"1.5", "-0.25", "3", "1e3"},
	'I': {"8000000000000-1", "8000000000000-2", "8000000000000-3", "8000000000000-4"},
	'G': {"g1", "g1", "g1", "g2"},
	'C': {"c1", "c2"},
}

// spoiling is how a call is made to fail.
type spoiling uint8

const (
	asItIs    spoiling = iota
	mixed              // a key in place of another type's
	shortened          // without its last word, or without its first key and all behind it
	garbled            // an argument in place of another
	spoilings
)

// wordsOf makes the words of a call out of a line of calls_test.go.
func wordsOf(rng *rand.Rand, line string, how spoiling) []word {
	var words []word
	for _, w := range strings.Fields(line) {
		words = append(words, wordOf(rng, w))
	}
	oneSpelling(words)
	switch how {
	case mixed:
		var keys []int
		for i, w := range words {
			if w.key {
				keys = append(keys, i)
			}
		}
		if len(keys) > 0 {
			i, other := keys[rng.IntN(len(keys))], types[rng.IntN(len(types))]
			words[i].text = fmt.Sprintf(ids[rng.IntN(3)], string(other))
			words[i].spelled = words[i].spelled && ruled(words[i].text)
		}
		oneSpelling(words)
	case shortened:
		// Many commands do with one key less, none without any.
		left := len(words) - 1
		if at := slices.IndexFunc(words, func(w word) bool { return w.key }); at > 0 && rng.IntN(2) == 0 {
			left = at
		}
		words = words[:max(1, left)]
	case garbled:
		// Not the second word: an unknown subcommand is refused (see uncovered_test.go).
		if i := rng.IntN(len(words)); i > 1 && !words[i].key {
			words[i].text = "junk\r\n\x00"
		}
	}
	return words
}

func wordOf(rng *rand.Rand, w string) word {
	if len(w) != 2 || w[0] != '%' {
		return word{text: w}
	}
	letter := w[1]
	if letter == 'k' {
		letter = types[rng.IntN(len(types))]
	}
	if letter == 'w' || strings.IndexByte(types, letter) >= 0 {
		name := fmt.Sprintf(ids[rng.IntN(len(ids))], string(letter))
		return word{text: name, key: true, spelled: ruled(name) && rng.IntN(8) == 0}
	}
	switch letter {
	case 'r':
		return word{text: fmt.Sprint(1000 + rng.IntN(100_000))}
	case 'R':
		return word{text: fmt.Sprint(1_000_000 + rng.IntN(100_000_000))}
	case 't', 'T':
		at := 4_000_000_000 + rng.Int64N(1000)
		if rng.IntN(10) == 0 {
			at = 1 // long ago
		}
		if letter == 'T' {
			at *= 1000
		}
		return word{text: fmt.Sprint(at)}
	case 'J':
		return word{text: fmt.Sprintf("80000000%05d-%d", 1+rng.IntN(99_999), rng.IntN(3))}
	}
	from := arguments[letter]
	return word{text: from[rng.IntN(len(from))]}
}

// oneSpelling gives a key one spelling in a command whose replies or errors name keys: of a name
// that is written in two ways nobody can say which one would be shown.
func oneSpelling(words []word) {
	if !namesKeys(plain(words)) && words[0].text[0] != 'x' {
		return
	}
	spelled := make(map[string]bool)
	for i, w := range words {
		if !w.key {
			continue
		}
		if s, seen := spelled[w.text]; seen {
			words[i].spelled = s
		} else {
			words[i].spelled = w.spelled && ruled(w.text)
			spelled[w.text] = words[i].spelled
		}
	}
}

package shape_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/classwaves/rekey/internal/keyname"
	"github.com/classwaves/rekey/internal/shape"
)

func count(into, from *int64) { *into += *from }

// learn shows the names to a tree and returns what it proposes.
func learn(names []string, most int) []shape.Shape[int64] {
	t := shape.NewTree(count)
	for _, name := range names {
		*t.Add([]byte(name))++
	}
	return t.Shapes(most, 0)
}

// reporter is what a failure is told.
type reporter interface {
	Helper()
	Fatalf(format string, args ...any)
}

// check holds what the package promises: every name has one template and is counted for it.
func check(t reporter, names []string, shapes []shape.Shape[int64]) {
	t.Helper()
	templates := make([]*keyname.Template, len(shapes))
	for i, s := range shapes {
		if s.Template == "" {
			continue
		}
		var err error
		if templates[i], err = keyname.Parse(s.Template, "env"); err != nil {
			t.Fatalf("%q: %v", s.Template, err)
		}
		for j, other := range templates[:i] {
			if other == nil {
				continue
			}
			if example, ok := keyname.Overlap(other, templates[i]); ok {
				t.Fatalf("%q and %q overlap at %q", shapes[j].Template, s.Template, example)
			}
		}
	}
	counted := make([]int64, len(shapes))
	for _, name := range names {
		found := 0
		for i, template := range templates {
			if template == nil && name == "" || template != nil && template.Match([]byte(name)) {
				counted[i]++
				found++
			}
		}
		if found != 1 {
			t.Fatalf("%q has %d templates", name, found)
		}
	}
	for i, s := range shapes {
		if s.Sum != counted[i] {
			t.Fatalf("%q: %d names were counted, %d match", s.Template, s.Sum, counted[i])
		}
	}
}

func texts(shapes []shape.Shape[int64]) []string {
	var out []string
	for _, s := range shapes {
		out = append(out, s.Template)
	}
	return out
}

func TestShapes(t *testing.T) {
	many := func(format string, n int) (out []string) {
		for i := range n {
			out = append(out, strings.ReplaceAll(format, "%", strconv.Itoa(i)))
		}
		return out
	}
	for _, c := range []struct {
		about string
		names []string
		want  []string
	}{
		{"no key", nil, nil},
		{"one key", []string{"session:4711"}, []string{"session:{n}"}},
		{"one word", []string{"lock"}, []string{"lock"}},
		{"the empty name", []string{"", "a"}, []string{"", "a"}},
		{"numbers", many("user:%:profile", 20), []string{"user:{n}:profile"}},
		{"fields", slices.Concat(many("user:%:profile", 20), many("user:%:cart", 20), many("user:%", 9)),
			[]string{"user:{n}", "user:{n}:cart", "user:{n}:profile"}},
		{"few settings", []string{"config:theme", "config:locale"}, []string{"config:locale", "config:theme"}},
		{"words that are values", []string{"user:anna", "user:bert", "user:carla", "user:dora", "user:emil"}, []string{"user:{name}"}},
		{"numbers and a word", []string{"user:1", "user:2", "user:me"}, []string{"user:{id}"}},
		{"a UUID", []string{"s:6ba7b810-9dad-11d1-80b4-00c04fd430c8", "s:6ba7b811-9dad-11d1-80b4-00c04fd430c8"}, []string{"s:{uuid}"}},
		{"hexadecimal", []string{"csrf:9f86d081884c7d65", "csrf:2c26b46b68ffc68f"}, []string{"csrf:{hex}"}},
		{"base64", []string{"tok:aGVsbG8gd29ybGQh", "tok:c29tZXRoaW5nIGVsc2U="}, []string{"tok:{id}"}},
		{"slashes", many("v1/users/%/profile", 9), []string{"v1/users/{n}/profile"}},
		{"a dash", many("order-%", 9), []string{"order-{n}"}},
		{"no separator", many("order%", 9), []string{"order{n}"}},
		{"two variables between dashes", []string{"order-17-3", "order-18-4"}, []string{"order-{n}"}},
		{"dots", many("app.cache.%.html", 9), []string{"app.cache.{n}.html"}},
		{"pipes", many("tenant|%|x", 9), []string{"tenant|{n}|x"}},
		{"two versions", slices.Concat(many("cache:v2:%", 50), many("cache:v3:%", 50)), []string{"cache:v2:{n}", "cache:v3:{n}"}},
		{"a word with a number", many("sha256:%", 50), []string{"sha256:{n}"}},
		{"two of them", slices.Concat(many("db0:%", 50), many("db1:%", 50)), []string{"db{n}:{n2}"}},
		{"braces", many("{user%}:cart", 9), []string{"{{user{n}}}:cart"}},
		{"a dollar", many("${x}:%", 9), []string{"${{x}}:{n}"}},
		{"no UTF-8", []string{"bin:\xff\xfe\x00", "bin:\x80\x81"}, []string{"bin:{bytes}"}},
		{"newlines", []string{"note:first\nsecond"}, []string{"note:first{bytes}second"}},
		{"spaces", many("my key %", 9), []string{"my key {n}"}},
		{"empty segments", slices.Concat(many("a::%", 9), []string{"a:", ":"}), []string{":", "a:", "a::{n}"}},
		{"tails of any length", []string{"rl:10.0.0.1", "rl:1:2", "rl:1:2:3", "rl:1:2:3:4", "rl:9"}, []string{"rl:{rest...}"}},
		{"namespaces that go on alike", []string{"csrf:1", "csrf:2", "code:1", "code:2", "sess:1", "sess:2", "lock:1", "a:1", "b:1", "c:1", "d:1", "e:1", "f:1"},
			[]string{"a:{n}", "b:{n}", "c:{n}", "code:{n}", "csrf:{n}", "d:{n}", "e:{n}", "f:{n}", "lock:{n}", "sess:{n}"}},
	} {
		shapes := learn(c.names, 100)
		if got := texts(shapes); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.about, got, c.want)
		}
		check(t, c.names, shapes)
	}
}

// Six types of a cache are six shapes, or one for who says so.
func TestWordsOfAPlace(t *testing.T) {
	tree := func() *shape.Tree[int64] {
		t := shape.NewTree(count)
		for _, kind := range []string{"list", "detail", "status", "roster", "grades", "calendar"} {
			for i := range 10 {
				*t.Add(fmt.Appendf(nil, "cache:%s:%d", kind, i))++
			}
		}
		*t.Add([]byte("other:1"))++
		return t
	}
	if got := texts(tree().Shapes(100, 0)); len(got) != 7 || got[0] != "cache:calendar:{n}" {
		t.Errorf("got %q", got)
	}
	if got, want := texts(tree().Shapes(100, 5)), []string{"cache:{name}:{n}", "other:{n}"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// segments is what names are made of, kind and odd.
var segments = rapid.OneOf(
	rapid.SampledFrom([]string{"user", "users", "cart", "a", "b", "", "v2", "v3", "session-list", "x.y", "{tag}", "}", "{", "${A}", "me/1/b", "/", "a/b", "-1", "env",
		"6ba7b810-9dad-11d1-80b4-00c04fd430c8", "9f86d081884c7d65", "10.0.0.1", "\xff", "ü", "new\nline", " ", "user1", "user12", "Anna", "KQZX77"}),
	rapid.StringN(0, 6, 8),
	rapid.Map(rapid.IntRange(0, 40), strconv.Itoa),
	rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 70), func(b []byte) string { return string(b) }),
	rapid.StringMatching(`[a-d]{1,3}([/.-][a-d0-2]{1,2}){0,3}`),
)

var names = rapid.Map(rapid.SliceOfN(segments, 1, 15), func(s []string) string { return strings.Join(s, ":") })

func TestEveryNameHasOneTemplate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		some := rapid.SliceOfN(names, 0, 60).Draw(t, "names")
		if rapid.Bool().Draw(t, "few segments") {
			few := rapid.SliceOfN(segments, 1, 6).Draw(t, "segments")
			some = rapid.SliceOfN(rapid.Map(rapid.SliceOfN(rapid.SampledFrom(few), 1, 5), func(s []string) string { return strings.Join(s, ":") }), 0, 60).Draw(t, "of few")
		}
		most := rapid.SampledFrom([]int{8, 20, 200}).Draw(t, "most")
		shapes := learn(some, most)
		check(t, some, shapes)
		if len(shapes) > most+1 {
			t.Fatalf("%d shapes, asked for %d: %q", len(shapes), most, texts(shapes))
		}
		// The order in which a small tree learns does not matter.
		again := slices.Clone(some)
		slices.Reverse(again)
		if got, want := texts(learn(again, most)), texts(shapes); len(some) < 20 && !slices.Equal(got, want) {
			t.Fatalf("backwards %q, forwards %q", got, want)
		}
	})
}

// Names that nobody would write, so many that places run out.
func TestAdversarialNames(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	letters := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte('a' + random.IntN(26))
		}
		return string(b)
	}
	for name, make := range map[string]func() string{
		"words":      func() string { return letters(6) },
		"deep words": func() string { return strings.Join(strings.Split(letters(14), ""), ":") },
		"slashes":    func() string { return strings.Join(strings.Split(letters(10), ""), "/") },
		"bytes": func() string {
			return string([]byte{byte(random.Uint32()), byte(random.Uint32()), ':', byte(random.Uint32())})
		},
		"long":         func() string { return strings.Repeat(letters(1), 200) + ":" + letters(100) },
		"many colons":  func() string { return strings.Repeat(":", random.IntN(400)) },
		"words below":  func() string { return "app:" + letters(3) + ":" + letters(2) },
		"fields below": func() string { return "u:" + strconv.Itoa(random.IntN(1000)) + ":" + letters(2) + ":" + letters(2) },
	} {
		t.Run(name, func(t *testing.T) {
			some := []string{}
			for range 20_000 {
				some = append(some, make())
			}
			shapes := learn(some, 100)
			check(t, some, shapes)
			t.Log(len(shapes), texts(shapes)[:min(4, len(shapes))])
			if len(shapes) > 101 {
				t.Errorf("%d shapes", len(shapes))
			}
		})
	}
}

func FuzzShapes(f *testing.F) {
	f.Add("user:1\x00user:2:x\x00\x00a:b", uint8(8))
	f.Add("a/1\x00a/b\x00a/\x00{x}:$\x00${A}", uint8(100))
	f.Add("v2:a\x00v2:b\x00v22\x00v", uint8(9))
	f.Fuzz(func(t *testing.T, text string, most uint8) {
		some := strings.Split(text, "\x00")
		some = some[:min(len(some), 200)]
		check(t, some, learn(some, int(most)))
	})
}

func BenchmarkAdd(b *testing.B) {
	tree := shape.NewTree(count)
	all := make([][]byte, 100_000)
	for i := range all {
		all[i] = fmt.Appendf(nil, "user:%d:session-%d", i%1000, i)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		*tree.Add(all[i%len(all)])++
	}
}

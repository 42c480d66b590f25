package keyname

import (
	"testing"

	"pgregory.net/rapid"
)

func TestOverlap(t *testing.T) {
	for _, c := range []struct {
		a, b    string
		example string // "": they share no name
	}{
		{"session:{id}", "session:{id}", "session:x"},
		{"session:{id}", "sessions:{id}", ""},
		{"session:{id}", "session:{id}:access_code", ""},
		{"session:{id...}", "session:{id}:access_code", "session:x:access_code"},
		{"{key...}", "a", "a"},
		{"{key}", "a:b", ""},
		{"{a}:{b}", "x:{c...}", "x:x"},
		{"a{x}", "{y}b", "ab"},
		{"aa{x}", "{y...}a:a", ""},
		{"aa{x...}", "{y...}a:a", "aa:a"},
		{"aa{x}", "{y}aa", "aaa"},
		{"csrf:{sid}", "csrf_previous:{sid}", ""},
		{"analytics:session:{sid}", "analytics:{kind}:{rest...}", "analytics:session:x"},
	} {
		for _, way := range [][2]string{{c.a, c.b}, {c.b, c.a}} {
			a, b := mustParse(t, way[0]), mustParse(t, way[1])
			example, ok := Overlap(a, b)
			if ok != (c.example != "") || len(example) != len(c.example) {
				t.Errorf("Overlap(%q, %q): got %q, want one like %q", a, b, example, c.example)
			}
			if ok && (!a.Match(example) || !b.Match(example)) {
				t.Errorf("Overlap(%q, %q): %q is not a name of both", a, b, example)
			}
		}
	}
}

// TestOverlapIsExact compares with trying all short names. The templates have at most seven cells, and a common name of two such
// has at most eight bytes; y is in no literal and stands for all other bytes.
func TestOverlapIsExact(t *testing.T) {
	const alphabet, longest = "x:y", 8
	var names [][]byte
	level := [][]byte{nil}
	for range longest {
		var next [][]byte
		for _, name := range level {
			for _, c := range []byte(alphabet) {
				next = append(next, append(append([]byte(nil), name...), c))
			}
		}
		names, level = append(names, next...), next
	}
	draw := rapid.Custom(func(t *rapid.T) *Template {
		text := rapid.SampledFrom([]string{"", "x", ":", "x:", ":x", "xx"}).Draw(t, "before")
		switch rapid.IntRange(0, 3).Draw(t, "shape") {
		case 0:
			text += "x"
		case 1:
			text += rapid.SampledFrom([]string{"{a}", "{a...}"}).Draw(t, "variable")
		case 2:
			text += "{a}:{b...}"
		default:
			text += "{a...}:{b}"
		}
		text += rapid.SampledFrom([]string{"", "x", ":", ":x"}).Draw(t, "after")
		tmpl, err := Parse(text, "prod")
		if err != nil {
			t.Fatal(err)
		}
		return tmpl
	})
	seen := map[bool]int{}
	rapid.Check(t, func(t *rapid.T) {
		a, b := draw.Draw(t, "a"), draw.Draw(t, "b")
		example, ok := Overlap(a, b)
		var want []byte
		for _, name := range names {
			if a.Match(name) && b.Match(name) {
				want = name
				break
			}
		}
		seen[ok]++
		if ok != (want != nil) || len(example) != len(want) {
			t.Fatalf("Overlap(%q, %q): got %q, trying all names finds %q", a, b, example, want)
		}
		if ok && (!a.Match(example) || !b.Match(example)) {
			t.Fatalf("Overlap(%q, %q): %q is not a name of both", a, b, example)
		}
	})
	if seen[true] == 0 || seen[false] == 0 {
		t.Fatalf("only one answer was seen: %v", seen)
	}
}

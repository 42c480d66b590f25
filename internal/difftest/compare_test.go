package difftest

import (
	"bytes"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/classwaves/rekey/internal/resp"
)

// slack compares two replies; its name says what it lets pass. Errors must be equal but for anyReply. skew is how far
// two moments of the same step can be apart.
type slack func(got, want resp.Value, skew time.Duration) bool

func equalBytes(got, want resp.Value, _ time.Duration) bool {
	return bytes.Equal(got.Append(nil), want.Append(nil))
}

// anyReply: nothing is compared.
func anyReply(_, _ resp.Value, _ time.Duration) bool { return true }

// equalUnordered: the elements in any order.
func equalUnordered(got, want resp.Value, skew time.Duration) bool {
	return equalBytes(sorted(got, 1), sorted(want, 1), skew)
}

// equalPairsUnordered: pairs of elements in any order.
func equalPairsUnordered(got, want resp.Value, skew time.Duration) bool {
	return equalBytes(sorted(got, 2), sorted(want, 2), skew)
}

// equalPage: a page that holds everything, in any order.
func equalPage(got, want resp.Value, skew time.Duration) bool {
	return wholePage(got) && wholePage(want) && equalUnordered(got.Elems[1], want.Elems[1], skew)
}

// equalPageOfPairs: a page of pairs that holds everything, in any order.
func equalPageOfPairs(got, want resp.Value, skew time.Duration) bool {
	return wholePage(got) && wholePage(want) && equalPairsUnordered(got.Elems[1], want.Elems[1], skew)
}

// equalPageOnce: a page that holds everything, in any order, some of it twice.
func equalPageOnce(got, want resp.Value, skew time.Duration) bool {
	if !wholePage(got) || !wholePage(want) {
		return false
	}
	once := sorted(got.Elems[1], 1)
	once.Elems = slices.CompactFunc(once.Elems, func(a, b resp.Value) bool { return bytes.Equal(a.Str, b.Str) })
	return equalBytes(once, sorted(want.Elems[1], 1), skew)
}

// wholePage says that a reply of SCAN is the only one: its cursor is 0.
func wholePage(v resp.Value) bool { return len(v.Elems) == 2 && string(v.Elems[0].Str) == "0" }

// sameShape: a value of the same type, of as many elements, and null where that is null.
func sameShape(got, want resp.Value, _ time.Duration) bool {
	return got.Type == want.Type && got.Null == want.Null && len(got.Elems) == len(want.Elems)
}

// equalWithinSkew: integers that are as far apart as moments of one step can be, and a second
// more where a time was rounded to seconds. Below 0 they say that there is no time.
func equalWithinSkew(got, want resp.Value, skew time.Duration) bool {
	if got.Type != want.Type || len(got.Elems) != len(want.Elems) {
		return false
	}
	for i := range got.Elems {
		if !equalWithinSkew(got.Elems[i], want.Elems[i], skew) {
			return false
		}
	}
	if got.Type != ':' {
		return len(got.Elems) > 0 || equalBytes(got, want, skew)
	}
	if got.Int < 0 || want.Int < 0 {
		return got.Int == want.Int
	}
	far := max(got.Int-want.Int, want.Int-got.Int)
	return far <= 1 || far <= 2*skew.Milliseconds()
}

// equalButTimes: generated ids and times of streams are not compared.
func equalButTimes(got, want resp.Value, skew time.Duration) bool {
	return equalBytes(masked(got), masked(want), skew)
}

// asFromLua: pairs of maps in any order, each name once; doubles as numbers;
// nulls of any kind inside an aggregate; else equal.
func asFromLua(got, want resp.Value, skew time.Duration) bool {
	return equalBytes(fromLua(got), fromLua(want), skew)
}

// fromLua is what is left of a value that went through a script. Of a null alone the kind is known.
func fromLua(v resp.Value) resp.Value {
	if v.Null {
		return v
	}
	return insideLua(v)
}

func insideLua(v resp.Value) resp.Value {
	switch {
	case v.Null:
		return resp.Value{Type: '_', Null: true}
	case v.Type == ',':
		if f, err := strconv.ParseFloat(string(v.Str), 64); err == nil {
			v.Str = strconv.AppendFloat(nil, f, 'g', 17, 64)
		}
	}
	elems := make([]resp.Value, len(v.Elems))
	for i := range v.Elems {
		elems[i] = insideLua(v.Elems[i])
	}
	v.Elems = elems
	if v.Type != '%' {
		return v
	}
	v = sorted(v, 2)
	for i := len(v.Elems) - 2; i >= 0; i -= 2 {
		if i > 0 && bytes.Equal(v.Elems[i].Str, v.Elems[i-2].Str) {
			v.Elems = slices.Delete(v.Elems, i, i+2)
		}
	}
	return v
}

// equalAtSecondTry: moves_test.go sends the transaction again where the first reply is nil; what
// is compared then must be equal.
func equalAtSecondTry(got, want resp.Value, skew time.Duration) bool {
	return equalBytes(got, want, skew)
}

// sorted is an aggregate with its elements, in groups of n, in the order of their bytes.
func sorted(v resp.Value, n int) resp.Value {
	if len(v.Elems)%n != 0 {
		return v
	}
	groups := slices.Collect(slices.Chunk(slices.Clone(v.Elems), n))
	encoded := func(g []resp.Value) []byte { return resp.Value{Type: '*', Elems: g}.Append(nil) }
	slices.SortFunc(groups, func(a, b []resp.Value) int { return bytes.Compare(encoded(a), encoded(b)) })
	v.Elems = slices.Concat(groups...)
	return v
}

// timeID is an identifier that a server made from its clock between 2020 and 2033. The tests' own
// are of the year 2223.
var timeID = regexp.MustCompile(`^1[6-9]\d{11}-\d+$`)

// passing are what XINFO tells of the moment, or of how entries lie in memory.
var passing = []string{"idle", "inactive", "seen-time", "active-time", "radix-tree-keys", "radix-tree-nodes"}

// masked is a stream's value without times and generated ids.
func masked(v resp.Value) resp.Value {
	switch {
	case v.Type == ':' && v.Int > 1_600_000_000_000 && v.Int < 2_000_000_000_000:
		return resp.Value{Type: '+', Str: []byte("time")}
	case (v.Type == '$' || v.Type == '+') && timeID.Match(v.Str):
		return resp.Value{Type: '+', Str: []byte("id")}
	case len(v.Elems) == 0:
		return v
	}
	elems := make([]resp.Value, len(v.Elems))
	for i := range v.Elems {
		elems[i] = masked(v.Elems[i])
		if i > 0 && slices.Contains(passing, string(v.Elems[i-1].Str)) {
			elems[i] = resp.Value{Type: '+', Str: []byte("masked")}
		}
	}
	// An entry of XPENDING: identifier, consumer, milliseconds, deliveries.
	if len(elems) == 4 && elems[2].Type == ':' && elems[3].Type == ':' && strings.Contains(string(v.Elems[0].Str), "-") {
		elems[2] = resp.Value{Type: '+', Str: []byte("masked")}
	}
	v.Elems = elems
	return v
}

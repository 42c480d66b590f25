package querycache

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/classwaves/rekey/internal/redistest"
)

func sample() *envelope {
	return &envelope{
		loaded: time.UnixMilli(1_700_000_000_123), lifetime: 45 * time.Second, versioned: true,
		tags: []tagVersion{{"a", 1 << 40}, {"b:c", math.MaxInt64}}, size: 5, payload: []byte("value"),
	}
}

func TestEnvelopeComesBackAsItWas(t *testing.T) {
	for _, e := range []*envelope{sample(), {loaded: time.UnixMilli(0)}, {loaded: time.UnixMilli(1), compressed: true, size: 9, payload: []byte("x")}} {
		got, err := open("name", e.seal("name"))
		if err != nil || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", *e) {
			t.Errorf("open = %+v, %v; want %+v", got, err, *e)
		}
	}
}

func TestEveryDamageOfAnEnvelopeIsSeen(t *testing.T) {
	whole := sample().seal("name")
	for i := range whole {
		for _, bit := range []byte{1, 0x80} {
			b := bytes.Clone(whole)
			b[i] ^= bit
			if _, err := open("name", b); err == nil {
				t.Errorf("bit %#x of byte %d flipped: not seen", bit, i)
			}
		}
		if _, err := open("name", whole[:i]); err == nil {
			t.Errorf("cut to %d bytes: not seen", i)
		}
	}
	if _, err := open("another name", whole); !errors.Is(err, errCorrupt) {
		t.Errorf("under another name: %v", err)
	}
}

// resum makes a damaged envelope's sum right, as whoever writes such a thing on purpose does.
func resum(name string, b []byte) []byte {
	binary.BigEndian.PutUint32(b[sumAt:], sum(name, b[bodyAt:]))
	return b
}

func FuzzOpen(f *testing.F) {
	f.Add(sample().seal("name")[bodyAt:])
	f.Add([]byte{})
	f.Add(append(make([]byte, 12), bytes.Repeat([]byte{0xff}, 12)...))
	f.Fuzz(func(t *testing.T, body []byte) {
		b := resum("name", append(append([]byte(magic), 0, 0, 0, 0), body...))
		e, err := open("name", b)
		if err != nil {
			return
		}
		again, err := open("name", e.seal("name"))
		if err != nil || fmt.Sprintf("%+v", again) != fmt.Sprintf("%+v", e) {
			t.Errorf("%+v comes back as %+v, %v", e, again, err)
		}
	})
}

// poisons are entries that no process of this release wrote.
func poisons(t *testing.T, c *Cache) map[string][]byte {
	q, err := c.query(detail)
	must(t, err)
	now, err := c.versionsOf(t.Context(), q)
	must(t, err)
	e := c.envelope(q, c.cfg.Now(), now, []byte("old"))
	cut := e.seal(q.entry)
	unknown := e.seal(q.entry)
	unknown[bodyAt] |= 0x80
	enc, err := zstd.NewWriter(nil)
	must(t, err)
	bomb := *e
	bomb.compressed, bomb.payload, bomb.size = true, enc.EncodeAll(make([]byte, 64<<20), nil), 3
	huge := bomb
	huge.size = 1 << 30
	garbage := *e
	garbage.compressed, garbage.payload = true, []byte("not zstd")
	return map[string][]byte{
		"empty":                {},
		"cut":                  cut[:len(cut)-1],
		"another entry's":      e.seal(q.entry + "2"),
		"an unknown flag":      resum(q.entry, unknown),
		"a bomb":               bomb.seal(q.entry),
		"a bomb that says so":  huge.seal(q.entry),
		"no zstd":              garbage.seal(q.entry),
		"half of JSON":         []byte(`{"a":`),
		"magic only":           []byte(magic),
		"binary":               {0xff, 0xfe, 0},
		"a placeholder":        []byte("lock:1234"),
		"JSON and then a NUL":  []byte("{}\x00"),
		"an envelope's prefix": []byte(magic[:2]),
	}
}

func TestPoisonedEntriesAreMissesAndAreOverwritten(t *testing.T) {
	bothWays(t, func(t *testing.T, epochs func(*Config)) {
		rdb := redistest.Shared(t).Client()
		c := newCache(t, rdb, epochs, func(cfg *Config) { cfg.MaxValue = 1 << 20 })
		entry := keysOf(t, detail).entry
		for name, poison := range poisons(t, c) {
			src := newSource("new " + name)
			must(t, rdb.Set(t.Context(), entry, poison, time.Minute).Err())
			if v, found, err := c.Lookup(t.Context(), detail); found || err != nil {
				t.Errorf("%s: Lookup = %q, %v, %v", name, v, found, err)
			}
			mustGet(t, c, detail, src.load, "new "+name)
			mustGet(t, c, detail, src.load, "new "+name)
			mustLoads(t, src, 1)
		}
		must(t, rdb.Del(t.Context(), entry).Err())
		must(t, rdb.LPush(t.Context(), entry, "another type").Err())
		src := newSource("new")
		mustGet(t, c, detail, src.load, "new")
		mustGet(t, c, detail, src.load, "new")
		mustLoads(t, src, 1)
		if c.CacheMetrics().Types[detail.Type.Name].Corrupt == 0 {
			t.Error("nothing is counted as corrupt")
		}
	})
}

func TestWhatTheOldReleaseStored(t *testing.T) {
	rdb := redistest.Shared(t).Client()
	entry, old := keysOf(t, detail).entry, `{"id":"s1"}`
	must(t, rdb.Set(t.Context(), entry, old, time.Minute).Err())
	off := newCache(t, rdb, withoutEpochs)
	mustGet(t, off, detail, newSource("new").load, old)
	if v, found, err := off.Lookup(t.Context(), detail); string(v) != old || !found || err != nil {
		t.Errorf("Lookup = %q, %v, %v", v, found, err)
	}
	on := newCache(t, rdb)
	if v, found, err := on.Lookup(t.Context(), detail); found || err != nil {
		t.Errorf("with epochs, Lookup = %q, %v, %v", v, found, err)
	}
	mustGet(t, on, detail, newSource("new").load, "new")
}

// An entry without versions is for no process with epochs, not even when its loader fails. One with
// versions is for no process without: it would come back after it was invalidated.
func TestEpochsOnAndOffDoNotUseEachOthersEntries(t *testing.T) {
	rdb := redistest.Shared(t).Client()
	on, off := newCache(t, rdb), newCache(t, rdb, withoutEpochs)
	away := errors.New("database is away")
	fails := func(context.Context) ([]byte, error) { return nil, away }

	mustGet(t, off, detail, newSource("by off").load, "by off")
	if v, err := on.Get(t.Context(), detail, fails); !errors.Is(err, away) {
		t.Errorf("with epochs an entry without versions is used: %q, %v", v, err)
	}
	mustGet(t, on, detail, newSource("by on").load, "by on")
	must(t, on.Invalidate(t.Context(), changed))
	if v, err := off.Get(t.Context(), detail, fails); !errors.Is(err, away) {
		t.Errorf("without epochs an entry with versions is used: %q, %v", v, err)
	}
	mustGet(t, on, detail, newSource("by on").load, "by on")
	must(t, off.Invalidate(t.Context(), changed)) // removes it: seen by both
	if v, err := on.Get(t.Context(), detail, fails); !errors.Is(err, away) {
		t.Errorf("with epochs a removed entry is used: %q, %v", v, err)
	}
	untagged := Entry{Type: detail.Type, Key: "s2"}
	mustGet(t, off, untagged, newSource("by off").load, "by off")
	if v, err := on.Get(t.Context(), untagged, fails); !errors.Is(err, away) {
		t.Errorf("without tags the same: %q, %v", v, err)
	}
}

func TestOtherTagsAreAnotherEntry(t *testing.T) {
	c := newCache(t, redistest.Shared(t).Client())
	e := detail
	e.Tags = []string{"b", "a", "b"}
	mustGet(t, c, e, newSource("v1").load, "v1")
	e.Tags = []string{"a", "b"} // the same ones
	mustGet(t, c, e, newSource("v2").load, "v1")
	for i, tags := range [][]string{{"a"}, {"a", "b", "c"}, {"a", "c"}, nil} {
		e.Tags = tags
		want := fmt.Sprint("w", i)
		mustGet(t, c, e, newSource(want).load, want)
	}
}

func TestCompression(t *testing.T) {
	rdb := redistest.Shared(t).Client()
	c := newCache(t, rdb)
	big, noise := strings.Repeat("compressible ", 1000), string(randomBytes(10_000))
	for _, tt := range []struct {
		name       string
		typ        Type
		value      string
		compressed bool
	}{
		{"big", SessionDetail, big, true},
		{"at the limit", SessionDetail, big[:compressFrom], false},
		{"one byte over it", SessionDetail, big[:compressFrom+1], true},
		{"a type that is not compressed", GroupStatus, big, false},
		{"what does not get smaller", SessionDetail, noise, false},
		{"empty", SessionDetail, "", false},
	} {
		e := Entry{Type: tt.typ, Key: tt.name, Tags: detail.Tags}
		mustGet(t, c, e, newSource(tt.value).load, tt.value)
		mustGet(t, c, e, newSource("not loaded").load, tt.value)
		e.Type.Compress = !e.Type.Compress // what a type says now does not matter for reading
		mustGet(t, c, e, newSource("not loaded").load, tt.value)
		stored, err := rdb.Get(t.Context(), keysOf(t, e).entry).Bytes()
		must(t, err)
		got, err := open(keysOf(t, e).entry, stored)
		if err != nil || got.compressed != tt.compressed {
			t.Errorf("%s: compressed %v, %v; want %v", tt.name, got.compressed, err, tt.compressed)
		}
		if tt.compressed && len(stored) > len(tt.value)/5 {
			t.Errorf("%s: %d bytes take %d", tt.name, len(tt.value), len(stored))
		}
	}
}

func TestAValueThatIsTooLargeIsReturnedAndNotKept(t *testing.T) {
	rdb := redistest.Shared(t).Client()
	c := newCache(t, rdb, func(cfg *Config) { cfg.MaxValue = 100 })
	big := strings.Repeat("x", 101)
	mustGet(t, c, detail, newSource("small").load, "small")
	must(t, c.Upsert(t.Context(), detail, []byte(big)))
	if _, found, err := c.Lookup(t.Context(), detail); found || err != nil {
		t.Errorf("the older value is still there: %v", err)
	}
	mustGet(t, c, detail, newSource(big).load, big)
	if names := rdb.Exists(t.Context(), keysOf(t, detail).entry, keysOf(t, detail).lock).Val(); names != 0 {
		t.Errorf("%d of entry and lock are left", names)
	}
	if n := c.CacheMetrics().Types[detail.Type.Name].TooLarge; n != 2 {
		t.Errorf("%d too large, want 2", n)
	}
}

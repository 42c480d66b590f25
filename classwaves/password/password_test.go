package password

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/classwaves/rekey/classwaves/unavailable"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cheap is quick to compute; what is tested does not depend on the price.
var cheap = Config{Memory: 64, Time: 1, Parallel: 2}

func newHasher(t testing.TB, c Config) *Hasher {
	t.Helper()
	h, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestCheck(t *testing.T) {
	h := newHasher(t, cheap)
	for _, password := range []string{"correct horse battery staple", "", "päßwörd\x00", strings.Repeat("x", MaxBytes)} {
		hash, err := h.Hash(t.Context(), password)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			password string
			want     bool
		}{{password, true}, {password + " ", false}, {strings.ToUpper(password) + "!", false}, {"x", false}} {
			if ok, err := h.Check(t.Context(), hash, c.password); err != nil || ok != c.want {
				t.Errorf("%.20q against the hash of %.20q: got %v, %v", c.password, password, ok, err)
			}
		}
		if again, err := h.Hash(t.Context(), password); err != nil || again == hash {
			t.Errorf("the same hash twice: its salt is not its own (%v)", err)
		}
	}
}

// A hash that another program made: one of the expected results in test.c of the reference implementation.
func TestAHashOfTheReferenceImplementation(t *testing.T) {
	const hash = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"
	h := newHasher(t, cheap)
	if ok, err := h.Check(t.Context(), hash, "password"); err != nil || !ok {
		t.Errorf("got %v, %v", ok, err)
	}
	if ok, err := h.Check(t.Context(), hash, "Password"); err != nil || ok {
		t.Errorf("another password: got %v, %v", ok, err)
	}
}

func TestTooLong(t *testing.T) {
	h := newHasher(t, cheap)
	long := strings.Repeat("x", MaxBytes+1)
	if _, err := h.Hash(t.Context(), long); !errors.Is(err, ErrTooLong) {
		t.Errorf("Hash: got %v", err)
	}
	hash, err := h.Hash(t.Context(), long[:MaxBytes])
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := h.Check(t.Context(), hash, long); err != nil || ok {
		t.Errorf("Check: got %v, %v", ok, err)
	}
}

func TestHashesThatCannotBeRead(t *testing.T) {
	h := newHasher(t, cheap)
	const salt, hash = "c29tZXNhbHQ", "nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"
	good := "$argon2id$v=19$m=256,t=2,p=1$" + salt + "$" + hash
	if _, err := parse(good); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"nothing":              "",
		"a password":           "hunter2",
		"another function":     strings.Replace(good, "argon2id", "argon2i", 1),
		"another version":      strings.Replace(good, "v=19", "v=16", 1),
		"a gigabyte":           strings.Replace(good, "m=256", "m=1048576", 1),
		"no memory":            strings.Replace(good, "m=256", "m=7", 1),
		"a negative number":    strings.Replace(good, "m=256", "m=-1", 1),
		"a number of 64 bits":  strings.Replace(good, "m=256", "m=18446744073709551872", 1),
		"a leading zero":       strings.Replace(good, "m=256", "m=0256", 1),
		"no passes":            strings.Replace(good, "t=2", "t=0", 1),
		"a million passes":     strings.Replace(good, "t=2", "t=1000000", 1),
		"no threads":           strings.Replace(good, "p=1", "p=0", 1),
		"257 threads":          strings.Replace(good, "p=1", "p=257", 1),
		"another order":        strings.Replace(good, "m=256,t=2", "t=2,m=256", 1),
		"one more parameter":   strings.Replace(good, "p=1", "p=1,x=1", 1),
		"no base64":            strings.Replace(good, salt, "§", 1),
		"padding":              good + "=",
		"a line break":         strings.Replace(good, salt, salt[:4]+"\n"+salt[4:], 1),
		"no salt":              strings.Replace(good, salt, "", 1),
		"no hash":              strings.Replace(good, hash, "", 1),
		"a hash of four bytes": strings.Replace(good, hash, "AAAAAA", 1),
		"something after it":   good + "$",
		"something before it":  "x" + good,
		"bits left over":       strings.Replace(good, hash, hash[:len(hash)-1]+"5", 1),
	} {
		ok, err := h.Check(t.Context(), text, "password")
		if !errors.Is(err, ErrFormat) || ok {
			t.Errorf("%s: got %v, %v", name, ok, err)
		}
		if err != nil && text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("%s: the error tells the text: %v", name, err)
		}
		if !h.NeedsRehash(text) {
			t.Errorf("%s: needs no rehash", name)
		}
	}
}

func TestNeedsRehash(t *testing.T) {
	h := newHasher(t, Config{Memory: 64, Time: 2})
	for _, c := range []struct {
		made Config
		want bool
	}{
		{Config{Memory: 64, Time: 2}, false},
		{Config{Memory: 128, Time: 3}, false},
		{Config{Memory: 32, Time: 2}, true},
		{Config{Memory: 64, Time: 1}, true},
		{Config{Memory: 128, Time: 1}, true},
	} {
		hash, err := newHasher(t, c.made).Hash(t.Context(), "password")
		if err != nil {
			t.Fatal(err)
		}
		if got := h.NeedsRehash(hash); got != c.want {
			t.Errorf("made with %+v: got %v", c.made, got)
		}
		if ok, err := h.Check(t.Context(), hash, "password"); err != nil || !ok {
			t.Errorf("made with %+v: Check got %v, %v", c.made, ok, err)
		}
	}
}

// The dummy costs what a real hash costs, to the parameters, and nothing fits it.
func TestDummy(t *testing.T) {
	h := newHasher(t, cheap)
	dummy, err := parse(h.Dummy())
	if err != nil {
		t.Fatal(err)
	}
	hash, err := h.Hash(t.Context(), "password")
	if err != nil {
		t.Fatal(err)
	}
	ours, err := parse(hash)
	if err != nil {
		t.Fatal(err)
	}
	if dummy.params != ours.params || len(dummy.salt) != len(ours.salt) || len(dummy.hash) != len(ours.hash) {
		t.Errorf("the dummy %s is unlike the hash %s", h.Dummy(), hash)
	}
	for _, password := range []string{"", "password", h.Dummy()} {
		if ok, err := h.Check(t.Context(), h.Dummy(), password); err != nil || ok {
			t.Errorf("%q: got %v, %v", password, ok, err)
		}
	}
	if h.Dummy() == newHasher(t, cheap).Dummy() {
		t.Error("every process has the same dummy")
	}
}

// While all memory is taken, others wait, and leave with their context: the answer is then that there
// is none.
func TestMemoryIsBounded(t *testing.T) {
	h := newHasher(t, cheap)
	hash, err := h.Hash(t.Context(), "password")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.memory.Acquire(t.Context(), h.allowed-63); err != nil { // all but a KiB less than one hash takes
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	ok, err := h.Check(ctx, hash, "password")
	if !unavailable.Is(err) || !errors.Is(err, context.DeadlineExceeded) || ok {
		t.Errorf("Check while all is taken: got %v, %v", ok, err)
	}
	if _, err := h.Hash(ctx, "password"); !unavailable.Is(err) {
		t.Errorf("Hash while all is taken: got %v", err)
	}
	h.memory.Release(1) // now there is room for one: many pass, one after the other
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if ok, err := h.Check(t.Context(), hash, "password"); err != nil || !ok {
				t.Errorf("got %v, %v", ok, err)
			}
		})
	}
	all.Wait()

	// An old hash that takes more than all of ours together is computed too, alone.
	big, err := newHasher(t, Config{Memory: 1024, Time: 1}).Hash(t.Context(), "password")
	if err != nil {
		t.Fatal(err)
	}
	h.memory.Release(h.allowed - 64)
	if ok, err := h.Check(t.Context(), big, "password"); err != nil || !ok {
		t.Errorf("a big one: got %v, %v", ok, err)
	}
}

func TestConfig(t *testing.T) {
	for _, c := range []Config{{Memory: 7}, {Memory: maxMemory + 1}, {Time: maxTime + 1}, {Parallel: -1}, {Parallel: maxParallel + 1}} {
		if _, err := New(c); err == nil {
			t.Errorf("%+v is allowed", c)
		}
	}
	h := newHasher(t, Config{})
	if h.params != (params{memory: 19456, time: 2, threads: 1}) || h.allowed != 4*19456 {
		t.Errorf("the defaults are %+v, %d KiB", h.params, h.allowed)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4")
	f.Add("$argon2id$v=19$m=256,t=2$$")
	f.Fuzz(func(t *testing.T, text string) {
		e, err := parse(text)
		if err != nil {
			return
		}
		if e.String() != text || e.params.check() != nil {
			t.Errorf("%q is read as %q", text, e)
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	h := newHasher(b, Config{})
	hash, err := h.Hash(b.Context(), "password")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if ok, err := h.Check(b.Context(), hash, "password"); err != nil || !ok {
			b.Fatal(ok, err)
		}
	}
}

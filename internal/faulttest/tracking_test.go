package faulttest

import (
	"strings"
	"testing"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

// invalidation reads pushes until one names a key, and gives the names.
func invalidation(t *testing.T, c *redistest.Conn) string {
	t.Helper()
	v := c.Read()
	if len(v.Elems) < 2 || !strings.Contains(text(v.Elems[0])+text(v.Elems[1]), "invalidate") {
		t.Fatalf("got %s, want an invalidation", text(v))
	}
	return text(v.Elems[len(v.Elems)-1])
}

// TestCachedMissIsInvalidated: a reader keeps in memory that a key is not there. A neighbour in any
// phase that may stand beside it makes the key, perhaps under the other name, and the reader is told.
func TestCachedMissIsInvalidated(t *testing.T) {
	server := redistest.Shared(t)
	for _, pair := range neighbours() {
		reader, writer := pair[0], pair[1]
		for _, mode := range []string{"default", "BCAST"} {
			t.Run(reader.String()+" beside "+writer.phase.String()+"/"+mode, func(t *testing.T) {
				want(t, server.Conn(), "OK", "FLUSHALL")
				c := connect(t, in(t, reader), server.Addr())
				w := connect(t, in(t, writer), server.Addr())
				_ = c.Do("HELLO", "3")
				on := []string{"CLIENT", "TRACKING", "ON"}
				if mode == "BCAST" {
					on = append(on, "BCAST", "PREFIX", reader.legacy(""))
				}
				want(t, c, "OK", on...)
				k := reader.legacy("k")
				for _, write := range [][]string{{"SET", k, "1"}, {"INCR", k}, {"DEL", k}, {"RPUSH", k, "a"}} {
					before := text(c.Do("EXISTS", k))
					_ = w.Do(write...)
					names := invalidation(t, c)
					if !strings.Contains(names, k) {
						t.Errorf("%v after EXISTS %s: invalidated %s, want %s among them", write, before, names, k)
					}
					if strings.Contains(names, "cw:") && mode == "BCAST" {
						t.Errorf("%v: invalidated %s, want names under the prefix that was asked for", write, names)
					}
					drain(t, c)
				}
			})
		}
	}
}

// drain reads what else was pushed, up to the answer of a PING.
func drain(t *testing.T, c *redistest.Conn) {
	t.Helper()
	c.Send("PING", "end")
	for {
		v := c.Read()
		if string(v.Str) == "end" {
			return
		}
		if v.Type != '>' {
			t.Fatalf("got %s, want pushes and the end", text(v))
		}
	}
}

// TestMissNeedsBothNames shows the fault by hand: the transaction of a dual read, without the EXISTS
// behind it, remembers the target name alone, and a guard neighbour's write is not told.
func TestMissNeedsBothNames(t *testing.T) {
	server := redistest.Shared(t)
	for _, tracked := range []bool{false, true} {
		want(t, server.Conn(), "OK", "FLUSHALL")
		c, w := server.Conn(), server.Conn()
		_ = c.Do("HELLO", "3")
		want(t, c, "OK", "CLIENT", "TRACKING", "ON")
		words := [][]string{{"MULTI"}, {"COPY", "mi:k", "cw:test:mi:k"}, {"GET", "cw:test:mi:k"}, {"EXEC"}}
		if tracked {
			words = append(words[:3:3], []string{"EXISTS", "mi:k"}, []string{"EXEC"})
		}
		for _, line := range words {
			_ = c.Do(line...)
		}
		want(t, w, "OK", "SET", "mi:k", "v")
		want(t, w, "0", "UNLINK", "cw:test:mi:k")
		c.Send("PING")
		if told := c.Read().Type == '>'; told != tracked {
			t.Errorf("read with EXISTS %v: told %v", tracked, told)
		}
	}
}

// TestCachesForgetAtAChangeOfPhase: what was remembered under one phase may not be what is written
// under the next, so a caching client is told to forget everything: by a push, by the message of
// RESP2, and where invalidations are redirected to another connection, there.
func TestCachesForgetAtAChangeOfPhase(t *testing.T) {
	server := redistest.Shared(t)
	bare := server.Conn()
	for _, tt := range []struct {
		name string
		// begin makes a connection that caches, and gives the one that is told.
		begin func(t *testing.T, r *rekey.Rekey) *redistest.Conn
	}{
		{"RESP3", func(t *testing.T, r *rekey.Rekey) *redistest.Conn {
			c := connect(t, r, server.Addr())
			_ = c.Do("HELLO", "3")
			want(t, c, "OK", "CLIENT", "TRACKING", "ON")
			want(t, c, "nil", "GET", "mi:k")
			return c
		}},
		{"RESP2 redirected", func(t *testing.T, r *rekey.Rekey) *redistest.Conn {
			told, c := connect(t, r, server.Addr()), connect(t, r, server.Addr())
			id := text(told.Do("CLIENT", "ID"))
			_ = told.Do("SUBSCRIBE", "__redis__:invalidate")
			want(t, c, "OK", "CLIENT", "TRACKING", "ON", "REDIRECT", id)
			want(t, c, "nil", "GET", "mi:k")
			return told
		}},
		{"RESP3 redirected", func(t *testing.T, r *rekey.Rekey) *redistest.Conn {
			told, c := connect(t, r, server.Addr()), connect(t, r, server.Addr())
			_ = told.Do("HELLO", "3")
			id := text(told.Do("CLIENT", "ID"))
			want(t, c, "OK", "CLIENT", "TRACKING", "ON", "REDIRECT", id)
			want(t, c, "nil", "GET", "mi:k")
			return told
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			source := rekey.NewManual(nil)
			r := open(t, rekey.WithSource(source))
			c := tt.begin(t, r)
			want(t, bare, "OK", "FLUSHALL")
			flushed := text(c.Read()) // what the server itself says when everything is gone
			follow(t, r, source, map[string]phase.Phase{"mirror": phase.Guard})
			if got := text(c.Read()); got != flushed {
				t.Errorf("at a change of phase: %s, want %s as at FLUSHALL", got, flushed)
			}
		})
	}
}

// TestRedirectedInvalidation: RESP2 has no pushes, so a client redirects invalidations to another
// connection. They come there with the names that the client uses.
func TestRedirectedInvalidation(t *testing.T) {
	server := redistest.Shared(t)
	for _, s := range stages() {
		t.Run(s.String(), func(t *testing.T) {
			want(t, server.Conn(), "OK", "FLUSHALL")
			r := in(t, s)
			told, c, w := connect(t, r, server.Addr()), connect(t, r, server.Addr()), connect(t, r, server.Addr())
			id := text(told.Do("CLIENT", "ID"))
			_ = told.Do("SUBSCRIBE", "__redis__:invalidate")
			want(t, c, "OK", "CLIENT", "TRACKING", "ON", "REDIRECT", id)
			want(t, c, "nil", "GET", s.legacy("k"))
			want(t, w, "OK", "SET", s.legacy("k"), "v")
			if names := invalidation(t, told); !strings.Contains(names, s.legacy("k")) {
				t.Errorf("invalidated %s, want %s among them", names, s.legacy("k"))
			}
		})
	}
}

// TestPrefixesAreAdded: a client that broadcasts names its prefixes one after the other, and by either name of the
// keys. It is told of the keys under each of them, whichever name a neighbour writes, and of no other.
func TestPrefixesAreAdded(t *testing.T) {
	server := redistest.Shared(t)
	for _, pair := range neighbours() {
		reader, writer := pair[0], pair[1]
		one, two, all, nothing := reader.legacy("one:"), reader.legacy("two:"), reader.target(""), []string(nil)
		for _, tt := range []struct {
			name  string
			calls [][]string
			told  map[string]bool // by the start of a key's legacy name
		}{
			{"one call", [][]string{{"PREFIX", one, "PREFIX", two}}, map[string]bool{one: true, two: true}},
			{"two calls", [][]string{{"PREFIX", one}, {"PREFIX", two}}, map[string]bool{one: true, two: true}},
			{"target name", [][]string{{"PREFIX", all}}, map[string]bool{one: true, two: true}},
			{"target name behind another's", [][]string{{"PREFIX", "other:"}, {"PREFIX", all}}, map[string]bool{one: true, two: true, "other:": true}},
			{"everything behind a prefix", [][]string{{"PREFIX", one}, nothing}, map[string]bool{one: true, two: true, "other:": true}},
		} {
			t.Run(reader.String()+" beside "+writer.phase.String()+"/"+tt.name, func(t *testing.T) {
				want(t, server.Conn(), "OK", "FLUSHALL")
				c := connect(t, in(t, reader), server.Addr())
				w := connect(t, in(t, writer), server.Addr())
				_ = c.Do("HELLO", "3")
				for _, call := range tt.calls {
					want(t, c, "OK", append([]string{"CLIENT", "TRACKING", "ON", "BCAST"}, call...)...)
				}
				for _, key := range []string{one, two, "other:"} {
					want(t, w, "OK", "SET", key+"k", "v")
					if names := told(t, c); strings.Contains(names, key+"k") != tt.told[key] {
						t.Errorf("a write of %sk: told of %q, want %v", key, names, tt.told[key])
					}
				}
				want(t, c, "OK", "CLIENT", "TRACKING", "OFF")
				want(t, c, "OK", "CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", two)
				want(t, w, "OK", "SET", one+"k", "w")
				if names := told(t, c); names != "" {
					t.Errorf("a write of %sk under prefixes of before: told of %q", one, names)
				}
			})
		}
	}
}

// told is the names of all pushes that have come.
func told(t *testing.T, c *redistest.Conn) (names string) {
	t.Helper()
	c.Send("PING", "end")
	for {
		v := c.Read()
		if string(v.Str) == "end" {
			return strings.TrimSpace(names)
		}
		if names += " " + strings.Trim(text(v.Elems[len(v.Elems)-1]), "[]"); v.Type != '>' {
			t.Fatalf("got %s, want pushes and the end", text(v))
		}
	}
}

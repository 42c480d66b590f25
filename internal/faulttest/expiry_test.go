package faulttest

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/classwaves/rekey/internal/redistest"
)

// relative are writes with a TTL that counts from now.
var relative = [][]string{
	{"SET", "k", "new", "PX", "60000"},
	{"SET", "k", "new", "PX", "60000", "XX"},
	{"SET", "k", "new", "PX", "60000", "GET"},
	{"PSETEX", "k", "60000", "new"},
	{"PEXPIRE", "k", "60000"},
	{"GETEX", "k", "PX", "60000"},
}

// TestOneExpiry: on servers before 7.2 the clock moves inside a transaction, so that the same
// relative TTL on two names gives two times. The two names of a key never have two different ones.
func TestOneExpiry(t *testing.T) {
	server := redistest.Shared(t)
	bare := server.Conn()
	for _, s := range stages() {
		t.Run(s.String(), func(t *testing.T) {
			want(t, bare, "OK", "FLUSHALL")
			c := connect(t, in(t, s), server.Addr())
			const rounds = 60
			for i, form := range relative {
				for n := range rounds {
					c.Send("SET", s.legacy(name(i, n)), "old")
					words := append([]string(nil), form...)
					words[1] = s.legacy(name(i, n))
					c.Send(words...)
				}
				for n := range rounds {
					_, reply := c.Read(), c.Read()
					if reply.IsError() {
						t.Fatalf("%v: %s", form, reply.Str)
					}
					legacy := bare.Do("PEXPIRETIME", s.legacy(name(i, n))).Int
					target := bare.Do("PEXPIRETIME", s.target(name(i, n))).Int
					if legacy < 0 && target < 0 || legacy > 0 && target > 0 && legacy != target || legacy == -1 || target == -1 {
						t.Fatalf("%v: expiry %d under the legacy and %d under the target name", form, legacy, target)
					}
				}
			}
		})
	}
}

func name(i, n int) string { return fmt.Sprintf("%d:%d", i, n) }

// TestTinyExpiries: what expires while it is written is gone under both names and no divergence.
func TestTinyExpiries(t *testing.T) {
	server := redistest.Shared(t)
	for _, s := range stages() {
		t.Run(s.String(), func(t *testing.T) {
			c := connect(t, in(t, s), server.Addr())
			for i, form := range [][]string{
				{"SET", "k", "new", "PX", "1"}, {"SET", "k", "new", "PX", "1", "GET"}, {"PSETEX", "k", "1", "new"},
				{"PEXPIRE", "k", "1"}, {"GETEX", "k", "PX", "1"}, {"PEXPIRE", "k", "0"}, {"PEXPIREAT", "k", "1"},
			} {
				for n := range 4 {
					k := s.legacy(name(i, n))
					want(t, c, "OK", "SET", k, "old")
					words := append([]string(nil), form...)
					words[1] = k
					c.Send(words...)
					c.Send("APPEND", k, "+")
					_, length := c.Read(), text(c.Read())
					if length == "1" {
						continue // it was gone already, and this is another key
					}
					redistest.WaitFor(t, replyWithin, func() bool { return text(c.Do("GET", k)) == "nil" })
					want(t, c, "0", "EXISTS", k)
				}
			}
		})
	}
}

// TestExpiredStaysGone: a key that expires under the reader's eyes is gone for every neighbour, and
// is not revived from its other name.
func TestExpiredStaysGone(t *testing.T) {
	server := redistest.Shared(t)
	for _, pair := range neighbours() {
		writer, reader := pair[0], pair[1]
		t.Run(writer.String()+" beside "+reader.phase.String(), func(t *testing.T) {
			want(t, server.Conn(), "OK", "FLUSHALL")
			w, r := connect(t, in(t, writer), server.Addr()), connect(t, in(t, reader), server.Addr())
			for i := range 4 {
				k := writer.legacy(strconv.Itoa(i))
				want(t, w, "OK", "SET", k, "v", "PX", "3")
				redistest.WaitFor(t, replyWithin, func() bool {
					_ = r.Do("GET", k)
					return text(w.Do("GET", k)) == "nil"
				})
				want(t, r, "nil", "GET", k)
				want(t, r, "0", "EXISTS", k)
				want(t, w, "1", "INCR", k+":n")
				want(t, r, "OK", "SET", k, "fresh")
				want(t, w, "fresh", "GET", k)
				want(t, w, "-1", "PTTL", k)
			}
		})
	}
}

// TestTwoClocksDiffer shows the fault: before 7.2 the naive pair of writes, with some milliseconds between
// them, gives two times. From 7.2 on it never does, which is what replay relies on there.
func TestTwoClocksDiffer(t *testing.T) {
	server := redistest.Shared(t)
	bare := server.Conn()
	differ := false
	for range 10 {
		bare.Write([]byte("MULTI\r\nSET a v PX 1000\r\nDEBUG SLEEP 0.003\r\nSET b v PX 1000\r\nPEXPIRETIME a\r\nPEXPIRETIME b\r\nEXEC\r\n"))
		for range 6 {
			_ = bare.Read()
		}
		v := bare.Read()
		differ = differ || v.Elems[3].Int != v.Elems[4].Int
	}
	frozen := server.IsValkey() || server.AtLeast(7, 2)
	if differ == frozen {
		t.Errorf("two times in one transaction: %v, want %v on %s %s", differ, !frozen, server.Flavor(), server.Version())
	}
}

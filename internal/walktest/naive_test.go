package walktest

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/classwaves/rekey/internal/redistest"
)

// flags is an instance's copy of the two flags that the migration began with.
type flags int32

const (
	off       flags = iota // legacy keys
	dualWrite              // both names written one after the other, target read first
	prefixed               // target written, target read first
	cleaned                // target keys alone; the legacy keys are removed
)

// naive is the flag flip by hand, as an application does it: a second GET where the first found
// nothing, a second SET after the first.
type naive struct {
	client
	at *atomic.Int32
}

func (c naive) do(ctx context.Context, words ...string) (any, error) {
	name, key := words[0], words[1]
	on := func(key string) (any, error) {
		return c.client.do(ctx, append([]string{name, key}, words[2:]...)...)
	}
	at := flags(c.at.Load())
	if at == off {
		return on(key)
	}
	v, err := on(target(key))
	switch {
	case err != nil:
		return v, err
	case !reads[name] && at == dualWrite:
		_, err := on(key)
		return v, err
	case reads[name] && at != cleaned && nothing(v):
		return on(key)
	}
	return v, nil
}

// nothing tells whether a read found no key.
func nothing(v any) bool {
	members, ok := v.([]any)
	return v == nil || v == int64(0) || ok && len(members) == 0
}

// naiveKinds are the simplest commands alone: no transaction makes it look worse than it is.
func naiveKinds() []kind {
	register, set := registers(), sets()
	register.actions = []action{{"GET", 4, nil, command("GET")}, {"SET", 2, fresh, command("SET")}, {"DEL", 1, nil, command("DEL")}}
	set.actions = []action{{"SMEMBERS", 4, nil, command("SMEMBERS")}, {"SADD", 2, members, command("SADD")}, {"SREM", 2, member, command("SREM")}}
	return []kind{register, set}
}

// TestNaiveFlagFlip takes the same number of instances over the flag flip, one after the other, with
// nothing left over from an earlier try. It must be found out; without a flip the same traffic is
// linearizable.
func TestNaiveFlagFlip(t *testing.T) {
	t.Run("no flip", func(t *testing.T) {
		if !flip(t) {
			t.Error("the history of a bare server is not linearizable")
		}
	})
	for _, tt := range []struct {
		name  string
		flips []flags
	}{
		{"on", []flags{dualWrite}},
		{"on and off", []flags{dualWrite, off}},
		{"all the way", []flags{dualWrite, prefixed, cleaned}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			mustBeFound(t, func(t *testing.T) bool { return flip(t, tt.flips...) })
		})
	}
}

func flip(t *testing.T, flips ...flags) (linearizable bool) {
	t.Helper()
	seed := seedOf(t)
	server := redistest.Shared(t)
	f := newFleet(t, server, seed, direct(server)) // at legacy for ever: the engine passes everything
	at := make([]atomic.Int32, instances)
	var clients []client
	for i, in := range f.instances {
		for _, c := range in.clients {
			clients = append(clients, naive{c, &at[i]})
		}
	}
	tr := newTraffic(t, seed, naiveKinds(), "naive")
	if err := tr.create(clients[0]); err != nil {
		t.Fatal(err)
	}
	tr.start(clients)
	more := func() {
		if err := tr.more(100); err != nil {
			t.Fatal(errors.Join(err, tr.end()))
		}
	}
	more()
	for _, to := range flips {
		for i := range at {
			at[i].Store(int32(to))
			more()
		}
	}
	if err := tr.end(); err != nil {
		t.Fatal(err)
	}
	if err := tr.readAll(clients[0]); err != nil {
		t.Fatal(err)
	}
	ok, err := tr.linearizable()
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

package demo

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/classwaves/rekey/internal/keyname"
	"github.com/classwaves/rekey/phase"
)

// naive is an instance with a wrapper as teams write it by hand, and as the plan that this project
// answers describes it: two flags, CW_CACHE_PREFIX_ENABLED and CW_CACHE_DUAL_WRITE.
//
//	prefix dual
//	  0     0    legacy names only
//	  1     1    reads take the prefixed name, and where it has nothing the legacy name; writes go to both
//	  1     0    prefixed names only
//
// It does what it says, one command after the other. Most of what it loses is lost between instances: while some have
// flipped a flag and others have not. Some of it one instance loses alone, as such wrappers do: GETDEL of what only the
// legacy name has answers nil.
type naive struct {
	process
	names *keyname.Set

	flip      sync.RWMutex // held for reading by commands under way
	fallbacks atomic.Int64
}

// naiveWay is the rollout of that plan and its rollback: the flags again, one step back.
var naiveWay = []stage{
	{phase.Legacy, phase.Legacy},
	{phase.Dual, phase.Dual},
	{phase.Prefixed, phase.Prefixed},
}

func openNaive(i int, o Options, server *server, names *keyname.Set) (instance, error) {
	n := &naive{names: names}
	n.label, n.options = fmt.Sprintf("app-%d", i+1), o
	n.now.Store(&naiveWay[0])
	var err error
	n.client, err = openClient(i, server, nil)
	return n, err
}

// enter flips the flags between two commands.
func (n *naive) enter(_ context.Context, to stage) error {
	n.flip.Lock()
	defer n.flip.Unlock()
	n.now.Store(&to)
	return nil
}

// do sends a batch. A wrapper that may have to ask twice cannot send its commands together, so from
// the first flip on each goes by itself, which is right where a key has one user at a time, as here.
func (n *naive) do(ctx context.Context, b batch) ([]reply, error) {
	n.flip.RLock()
	defer n.flip.RUnlock()
	now := n.now.Load().mirror
	if now == phase.Legacy {
		return n.client.do(ctx, b)
	}
	replies := make([]reply, 0, len(b.commands))
	for _, words := range b.commands {
		r, err := n.wrapped(ctx, words, now == phase.Dual)
		if err != nil {
			return nil, err
		}
		replies = append(replies, r)
	}
	return replies, nil
}

// wrapped is one command on the prefixed name and, while both names are used, on the legacy name: a
// write always, a read where the prefixed name has nothing.
func (n *naive) wrapped(ctx context.Context, words command, both bool) (reply, error) {
	r, err := n.single(ctx, n.prefixed(words))
	if err != nil || !both || reads(words[0]) && !nothing(words[0], r) {
		return r, err
	}
	legacy, err := n.single(ctx, words)
	switch {
	case err != nil || nothing(words[0], legacy):
		return r, err
	case words[0] == "DEL": // it was there if either was
		return legacy, nil
	case !reads(words[0]):
		return r, nil
	default:
		n.fallbacks.Add(1)
		return legacy, nil
	}
}

func (n *naive) single(ctx context.Context, words command) (reply, error) {
	replies, err := n.client.do(ctx, batch{commands: []command{words}})
	if err != nil {
		return reply{}, err
	}
	return replies[0], nil
}

// prefixed is a command on the prefixed names of its keys.
func (n *naive) prefixed(words command) command {
	out := append(command(nil), words...)
	keys := 1
	if words[0] == "MGET" {
		keys = len(words) - 1
	}
	for i := 1; i <= keys; i++ {
		rule, _ := n.names.Find([]byte(words[i]))
		if rule < 0 {
			continue
		}
		if name, ok := n.names.Pair(rule).AppendTarget(nil, []byte(words[i])); ok {
			out[i] = string(name)
		}
	}
	return out
}

// reads tells the commands for which the wrapper looks at the legacy name.
func reads(command string) bool {
	switch command {
	case "GET", "MGET", "EXISTS", "PTTL", "SMEMBERS", "SISMEMBER", "SCARD":
		return true
	default:
		return false
	}
}

// nothing tells a reply that says that there is no such key.
func nothing(command string, r reply) bool {
	switch {
	case r.kind == isNumber:
		return r.num == 0 || command == "PTTL" && r.num == -2
	case r.kind == isList:
		for i := range r.list {
			if !r.at(i).null {
				return false
			}
		}
		return true
	default:
		return r.null
	}
}

func (n *naive) stats() stats {
	return stats{fallbacks: map[phase.Strategy]int64{phase.Mirror: n.fallbacks.Load()}}
}

func (n *naive) close() error { return n.client.close() }

var _ instance = (*naive)(nil)

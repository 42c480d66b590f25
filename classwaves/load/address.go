package load

import (
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync/atomic"
)

// Linux accepts all of 127.0.0.0/8 as source addresses of loopback connections.
const linux = runtime.GOOS == "linux"

// addresses gives each user a network of its own, 127.x.y.0/24, so that a server which limits and
// recognises clients by address sees as many clients as there are users.
type addresses struct {
	own   bool // false: users have the machine's address
	first uint32
	given atomic.Uint32
}

// newAddresses begins somewhere by chance, whatever the seed is: the budgets of addresses that an
// earlier run has used are spent.
func newAddresses(own bool) *addresses { return &addresses{own: own, first: rand.Uint32()} }

// networks is how many there are, without 127.0.0.0/24, where servers are.
const networks = 1<<16 - 1

// next is a network that nobody has, until all were given.
func (a *addresses) next() network {
	if !a.own {
		return network{}
	}
	n := (a.first+a.given.Add(1))%networks + 1
	return network{own: true, high: byte(n >> 8), low: byte(n)}
}

type network struct {
	own       bool
	high, low byte
}

// hosts is how many addresses a network has.
const hosts = 254

// host is one of its addresses; the zero Addr where the machine's own is to be taken.
func (n network) host(i int) netip.Addr {
	if !n.own {
		return netip.Addr{}
	}
	return netip.AddrFrom4([4]byte{127, n.high, n.low, byte(i%hosts + 1)})
}

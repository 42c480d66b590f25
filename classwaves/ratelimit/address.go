package ratelimit

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// ClientAddr tells whose request it is: the address of whoever connected, unless that is one of our
// own proxies. Then it is the rightmost address of X-Forwarded-For that is not, because each proxy
// appends whom it heard, and what stands further left is the client's own word.
//
// An entry that is no address ends the search: the proxy that passed it on answers for it, so no
// garbage makes a subject of its own. The same goes for a request that never left our own network.
// Addresses are in their canonical form: IPv4 in IPv6 is IPv4, and a zone is dropped.
func ClientAddr(trusted []netip.Prefix) func(*http.Request) string {
	trusted = masked(trusted)
	return func(r *http.Request) string {
		addr, ok := client(trusted, r)
		if !ok {
			return "unknown"
		}
		return addr.String()
	}
}

// networkBits is how much of an IPv6 address tells who somebody is. A household gets a /64 and
// chooses the rest.
const networkBits = 64

// ClientNetwork is as [ClientAddr], but tells an IPv6 client's /64 network, in which it may choose as
// many addresses as it likes. The Node processes count by the whole address; a limit that they share
// has to do so too.
func ClientNetwork(trusted []netip.Prefix) func(*http.Request) string {
	trusted = masked(trusted)
	return func(r *http.Request) string {
		addr, ok := client(trusted, r)
		if !ok {
			return "unknown"
		}
		if addr.Is4() {
			return addr.String()
		}
		network, err := addr.Prefix(networkBits)
		if err != nil {
			return "unknown" // an IPv6 address has 64 bits
		}
		return network.String()
	}
}

// masked copies the networks in the form in which they are compared: that of IPv4 in IPv6 is IPv4.
func masked(trusted []netip.Prefix) []netip.Prefix {
	out := make([]netip.Prefix, 0, len(trusted))
	for _, p := range trusted {
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		out = append(out, p.Masked())
	}
	return out
}

func client(trusted []netip.Prefix, r *http.Request) (netip.Addr, bool) {
	addr, ok := parseAddr(r.RemoteAddr)
	if !ok {
		return netip.Addr{}, false
	}
	ours := func(a netip.Addr) bool {
		return slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	entries := r.Header.Values("X-Forwarded-For")
	for i := len(entries) - 1; i >= 0; i-- {
		for rest, more := entries[i], true; more; {
			if !ours(addr) {
				return addr, true
			}
			var entry string
			if comma := strings.LastIndexByte(rest, ','); comma >= 0 {
				rest, entry = rest[:comma], rest[comma+1:]
			} else {
				entry, more = rest, false
			}
			next, ok := parseAddr(strings.TrimSpace(entry))
			if !ok {
				return addr, true
			}
			addr = next
		}
	}
	return addr, true
}

// parseAddr reads 192.0.2.1, 192.0.2.1:80, 2001:db8::1, [2001:db8::1] and [2001:db8::1]:80.
func parseAddr(s string) (netip.Addr, bool) {
	if inner, ok := strings.CutPrefix(s, "["); ok {
		if inner, ok = strings.CutSuffix(inner, "]"); ok {
			a, err := netip.ParseAddr(inner)
			return canonical(a), err == nil && a.Is6()
		}
	}
	if a, err := netip.ParseAddr(s); err == nil {
		return canonical(a), true
	}
	a, err := netip.ParseAddrPort(s)
	return canonical(a.Addr()), err == nil
}

func canonical(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

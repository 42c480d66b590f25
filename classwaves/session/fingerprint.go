package session

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net"
	"net/http"
	"net/netip"
)

// How much of an address makes a network: what a provider gives to one customer, roughly.
const (
	networkBits4 = 24
	networkBits6 = 48
)

// network is the network of an address; what is no address stands for itself.
func network(addr string) string {
	ip, err := netip.ParseAddr(addr)
	if err != nil {
		return addr
	}
	ip = ip.Unmap().WithZone("")
	bits := networkBits6
	if ip.Is4() {
		bits = networkBits4
	}
	prefix, err := ip.Prefix(bits)
	if err != nil {
		return addr
	}
	return prefix.String()
}

// mark is the fingerprint of one trait. The session id in it keeps marks of two sessions from being
// compared, and addresses from being found by trying them all.
func mark(id, trait, value string) string {
	sum := sha256.Sum256([]byte(trait + "\x00" + id + "\x00" + value))
	return hex.EncodeToString(sum[:16])
}

// traits are a client's, as a request shows them.
type traits struct{ agent, network string }

func (t traits) agentMark(id string) string   { return mark(id, "agent", t.agent) }
func (t traits) networkMark(id string) string { return mark(id, "network", t.network) }

// differ says which traits are not those that the session was given to.
func (t traits) differ(id string, c content) (agent, network bool) {
	agent = subtle.ConstantTimeCompare([]byte(t.agentMark(id)), []byte(c.Agent)) == 0
	network = subtle.ConstantTimeCompare([]byte(t.networkMark(id)), []byte(c.Network)) == 0
	return agent, network
}

func (s *Sessions) traits(r *http.Request) traits {
	return traits{agent: r.UserAgent(), network: network(s.cfg.ClientAddr(r))}
}

// remoteHost is the address at the other end of the connection.
func remoteHost(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

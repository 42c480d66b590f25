package ratelimit_test

import (
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/classwaves/rekey/classwaves/ratelimit"
)

func TestClientAddr(t *testing.T) {
	trusted := []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8"), netip.MustParsePrefix("::ffff:172.16.0.0/108"),
	}
	for name, c := range map[string]struct {
		remote    string
		forwarded []string
		addr, net string // net empty: as addr
	}{
		"direct":                      {"198.51.100.1:4711", nil, "198.51.100.1", ""},
		"direct, lies":                {"198.51.100.1:4711", []string{"203.0.113.9"}, "198.51.100.1", ""},
		"one proxy":                   {"10.0.0.1:80", []string{"203.0.113.9"}, "203.0.113.9", ""},
		"client lies to the proxy":    {"10.0.0.1:80", []string{"1.1.1.1, 203.0.113.9"}, "203.0.113.9", ""},
		"client claims to be a proxy": {"10.0.0.1:80", []string{"1.1.1.1, 10.0.0.9, 203.0.113.9"}, "203.0.113.9", ""},
		"two proxies":                 {"10.0.0.1:80", []string{"1.1.1.1, 203.0.113.9, 10.2.0.1"}, "203.0.113.9", ""},
		"several headers":             {"10.0.0.1:80", []string{"1.1.1.1, 203.0.113.9", "10.2.0.1"}, "203.0.113.9", ""},
		"no header":                   {"10.0.0.1:80", nil, "10.0.0.1", ""},
		"empty header":                {"10.0.0.1:80", []string{""}, "10.0.0.1", ""},
		"all our own":                 {"10.0.0.1:80", []string{"10.0.0.7, 10.0.0.2"}, "10.0.0.7", ""},
		"garbage":                     {"10.0.0.1:80", []string{"203.0.113.9, unknown"}, "10.0.0.1", ""},
		"garbage before a proxy":      {"10.0.0.1:80", []string{"203.0.113.9, <script>, 10.0.0.3"}, "10.0.0.3", ""},
		"garbage behind the client":   {"10.0.0.1:80", []string{"' OR 1=1, 203.0.113.9"}, "203.0.113.9", ""},
		"empty entry":                 {"10.0.0.1:80", []string{"203.0.113.9,"}, "10.0.0.1", ""},
		"with a port":                 {"10.0.0.1:80", []string{"203.0.113.9:5000"}, "203.0.113.9", ""},
		"spaces":                      {"10.0.0.1:80", []string{"  203.0.113.9\t"}, "203.0.113.9", ""},
		"octal":                       {"10.0.0.1:80", []string{"0203.0.113.9"}, "10.0.0.1", ""},
		"IPv6":                        {"[2001:db8::1]:443", nil, "2001:db8::1", "2001:db8::/64"},
		"IPv6, written long":          {"[fd00::1]:80", []string{"2001:0DB8:0:0:1:0:0:1"}, "2001:db8::1:0:0:1", "2001:db8::/64"},
		"IPv6 with a port":            {"[fd00::1]:80", []string{"[2001:db8::7]:1234"}, "2001:db8::7", "2001:db8::/64"},
		"IPv6 in brackets":            {"[fd00::1]:80", []string{"[2001:db8::7]"}, "2001:db8::7", "2001:db8::/64"},
		"IPv6 with a zone":            {"[fe80::1%eth0]:80", nil, "fe80::1", "fe80::/64"},
		"IPv4 in IPv6":                {"[::ffff:10.0.0.1]:80", []string{"::ffff:203.0.113.9"}, "203.0.113.9", ""},
		"trusted as IPv4 in IPv6":     {"172.17.3.4:80", []string{"203.0.113.9"}, "203.0.113.9", ""},
		"IPv4 in brackets":            {"10.0.0.1:80", []string{"[203.0.113.9]"}, "10.0.0.1", ""},
		"unix socket":                 {"@", []string{"203.0.113.9"}, "unknown", ""},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = c.remote
		r.Header["X-Forwarded-For"] = c.forwarded
		if got := ratelimit.ClientAddr(trusted)(r); got != c.addr {
			t.Errorf("%s: address %q, want %q", name, got, c.addr)
		}
		if c.net == "" {
			c.net = c.addr
		}
		if got := ratelimit.ClientNetwork(trusted)(r); got != c.net {
			t.Errorf("%s: network %q, want %q", name, got, c.net)
		}
	}
}

// Without proxies of our own nobody's header counts.
func TestClientAddrTrustsNobodyByDefault(t *testing.T) {
	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr = "127.0.0.1:1"
	r.Header.Set("X-Forwarded-For", "203.0.113.9")
	if got := ratelimit.ClientAddr(nil)(r); got != "127.0.0.1" {
		t.Errorf("got %q", got)
	}
}

func FuzzClientAddr(f *testing.F) {
	f.Add("10.0.0.1:80", "203.0.113.9, 10.2.0.1")
	f.Add("[fd00::1]:80", "[2001:db8::7]:1234")
	f.Add("10.0.0.1:80", ",,[]:%,")
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	f.Fuzz(func(t *testing.T, remote, forwarded string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = remote
		r.Header["X-Forwarded-For"] = []string{forwarded}
		got := ratelimit.ClientAddr(trusted)(r)
		addr, err := netip.ParseAddr(got)
		if got != "unknown" && (err != nil || addr.String() != got || addr.Zone() != "") {
			t.Errorf("%q from %q is no canonical address", got, forwarded)
		}
		// What the client writes in front changes nothing, unless all that is there is our own.
		if inside := err == nil && (trusted[0].Contains(addr) || trusted[1].Contains(addr)); got != "unknown" && !inside {
			r.Header["X-Forwarded-For"] = []string{"1.2.3.4, " + strings.TrimSpace(forwarded)}
			if again := ratelimit.ClientAddr(trusted)(r); again != got {
				t.Errorf("a forged entry made %q of %q", again, got)
			}
		}
	})
}

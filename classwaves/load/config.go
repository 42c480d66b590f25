package load

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Config says what is played. URL, Email and Password are wanted, all else has a default.
type Config struct {
	// URL is the server's, or its balancer's: http://127.0.0.1:8080.
	URL string
	// Email is the teachers' accounts, with %d for the number from 1: load-%d@example.org. Make them
	// with `classwaves teacher add --count`. Nobody else may use them meanwhile.
	Email string
	// Password is that of all accounts.
	Password string
	// Teachers is how many play; default 4.
	Teachers int
	// Students is how many take part in each class session; default 6.
	Students int
	// Duration ends the play; 0: only the context does.
	Duration time.Duration
	// Pause is the mean time between two operations of one user; default 200 ms. Less than 0: none.
	Pause time.Duration
	// Seed chooses what is done; 0: a new one. How the server interleaves it is another roll of the
	// dice.
	Seed uint64
	// Probes spend limits and count; none: no limit is spent.
	Probes []Probe
	// MaxSessions is how many logins of a teacher the server keeps; default 3.
	MaxSessions int
	// Faults says that stores fail during the play: 503 and broken connections are allowed, and what
	// cannot be known then is not held against the server: reads that lag behind, budgets given twice.
	Faults bool
	// Settle is how long a login, or its end, may take to be known everywhere where faults are injected: a
	// server that does not reach the cache tells the database, and the others hear of it when the two are
	// compared, once a second. Default 4 s.
	Settle time.Duration
	// Patience is how long a change may take to reach those who listen; default 10 s.
	Patience time.Duration
}

// Probe is a limit of the server that is spent, again and again.
type Probe struct {
	// Limit is auth (of an address, at login) or join (of an address, for access codes).
	Limit string
	// Points, Window and Block are the server's own for it. Points must be less than 100, what an
	// address may do in all.
	Points        int
	Window, Block time.Duration
	// Users is how many addresses do so at the same time, each at another pace; default 3.
	Users int
	// Over is how long the slowest of them takes to spend it; default 9/10 of the play, and at most 8/10
	// of the window.
	Over time.Duration
}

// ParseProbe reads NAME=POINTS/WINDOW/BLOCK, the form in which the server takes its limits.
func ParseProbe(text string) (Probe, error) {
	name, value, _ := strings.Cut(text, "=")
	parts := strings.Split(value, "/")
	bad := func() (Probe, error) {
		return Probe{}, fmt.Errorf("load: probe %q: write auth=POINTS/WINDOW/BLOCK or join=..., such as auth=5/15m/15m", text)
	}
	if len(parts) != 3 {
		return bad()
	}
	p := Probe{Limit: name}
	var err error
	if p.Points, err = strconv.Atoi(parts[0]); err != nil {
		return bad()
	}
	for i, d := range []*time.Duration{&p.Window, &p.Block} {
		if *d, err = time.ParseDuration(parts[i+1]); err != nil {
			return bad()
		}
	}
	return p, p.check()
}

func (p *Probe) check() error {
	if p.Limit != "auth" && p.Limit != "join" {
		return fmt.Errorf("load: limit %q is none that can be probed; those are auth and join", p.Limit)
	}
	if p.Points < 1 || p.Points > 99 || p.Window < time.Second || p.Block < time.Second || p.Users < 0 || p.Over < 0 {
		return fmt.Errorf("load: probe of %s: it wants 1 to 99 points, and a window and a block of at least a second", p.Limit)
	}
	if p.Users == 0 {
		p.Users = 3
	}
	return nil
}

func (c *Config) complete() error {
	if c.Email == "" || c.Password == "" {
		return errors.New("load: Config wants Email and Password")
	}
	u, err := url.Parse(c.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("load: URL %q is none such as http://127.0.0.1:8080", c.URL)
	}
	c.URL = strings.TrimRight(c.URL, "/")
	for _, n := range []struct {
		v    *int
		def  int
		name string
	}{{&c.Teachers, 4, "Teachers"}, {&c.Students, 6, "Students"}, {&c.MaxSessions, 3, "MaxSessions"}} {
		if *n.v == 0 {
			*n.v = n.def
		}
		if *n.v < 1 {
			return fmt.Errorf("load: %s of %d: must be at least 1", n.name, *n.v)
		}
	}
	if c.Teachers > 1 && !strings.Contains(c.Email, "%d") {
		return errors.New("load: with several teachers Email wants a %d, where the number goes")
	}
	if c.Pause == 0 {
		c.Pause = 200 * time.Millisecond
	}
	if c.Settle == 0 {
		c.Settle = 4 * time.Second
	}
	if c.Patience == 0 {
		c.Patience = 10 * time.Second
	}
	for i := range c.Probes {
		if err := c.Probes[i].check(); err != nil {
			return err
		}
	}
	return nil
}

// ownAddresses says whether users can have source addresses of their own: on Linux, towards loopback.
func (c *Config) ownAddresses() bool {
	u, err := url.Parse(c.URL)
	if err != nil {
		return false
	}
	if u.Hostname() == "localhost" {
		return linux
	}
	addr, err := netip.ParseAddr(u.Hostname())
	return linux && err == nil && addr.Unmap().Is4() && addr.IsLoopback()
}

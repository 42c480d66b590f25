package control

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/plan"
)

// client is one line of CLIENT LIST.
type client struct {
	Stranger
	flags string
}

// census is who is connected, and who is known.
type census struct {
	now     int64
	runID   string
	clients []client
	fleet   map[int64]bool // ids that instances have admitted
	own     map[int64]bool // of this process and of a controller's sweeps
}

// takeCensus asks for the clients first and for the records after that: a connection that is admitted between
// the two is known then.
func takeCensus(ctx context.Context, store *fleet.Store) (*census, error) {
	keys := store.Keys()
	conn := store.Client().Conn() // one server, and its own id
	defer conn.Close()            // back to the pool; all was answered
	var self *redis.IntCmd
	var list, info *redis.StringCmd
	var at *redis.TimeCmd
	var instances *redis.StringSliceCmd
	if _, err := conn.Pipelined(ctx, func(p redis.Pipeliner) error {
		self, list, info, at = p.ClientID(ctx), p.ClientList(ctx), p.Info(ctx, "server"), p.Time(ctx)
		instances = p.HKeys(ctx, keys.Fleet())
		return nil
	}); err != nil {
		if strings.HasPrefix(err.Error(), "NOPERM") {
			return nil, fmt.Errorf("rekey: the clients of the server cannot be looked at: %w; give this command's user +client|list +client|id +info", err)
		}
		return nil, fmt.Errorf("rekey: ask the server for its clients: %w", err)
	}
	c := &census{now: at.Val().UnixMicro(), runID: parseIdentity(info.Val()).runID, fleet: make(map[int64]bool), own: map[int64]bool{self.Val(): true}}
	c.clients = parseClients(list.Val())
	ids := append(instances.Val(), sweepsID, unburiedID)
	var sets []*redis.StringSliceCmd
	if _, err := conn.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, id := range ids {
			sets = append(sets, p.SMembers(ctx, keys.Conns(id)))
		}
		return nil
	}); err != nil {
		return nil, fmt.Errorf("rekey: read the connections of the instances: %w", err)
	}
	for i, set := range sets {
		to := c.fleet
		if strings.HasPrefix(ids[i], "@") {
			to = c.own
		}
		for _, member := range set.Val() {
			run, id, _ := strings.Cut(member, ":")
			if n, err := strconv.ParseInt(id, 10, 64); err == nil && isOfRun(run, c.runID) {
				to[n] = true
			}
		}
	}
	return c, nil
}

// isOfRun says whether a connection in the records may be one of a run of the server. An instance whose user lacks
// +info is not told the run, and "?" stands for all of them.
func isOfRun(run, here string) bool { return run == here || run == "?" }

// parseClients reads CLIENT LIST.
func parseClients(list string) (out []client) {
	for line := range strings.Lines(list) {
		var c client
		for _, field := range strings.Fields(line) {
			name, value, _ := strings.Cut(field, "=")
			n, _ := strconv.ParseInt(value, 10, 64) // 0 for what is no number
			switch name {
			case "id":
				c.ID = n
			case "addr":
				c.Addr = value
			case "name":
				c.Name = value
			case "user":
				c.User = value
			case "lib-name":
				c.Library = value
			case "db":
				c.Database = int(n)
			case "age":
				c.Age = time.Duration(n) * time.Second
			case "idle":
				c.Idle = time.Duration(n) * time.Second
			case "cmd":
				c.Command = value
			case "flags":
				c.flags = value
			}
		}
		if c.ID != 0 {
			out = append(out, c)
		}
	}
	return out
}

// place is where a client belongs.
type place uint8

const (
	outside place = iota
	inFleet
	isOwn
	isAllowed
)

// placeOf says where a client belongs. Replicas, primaries and sentinels are of the server's own house.
func (c *census) placeOf(one client, who allowed) place {
	switch {
	case c.fleet[one.ID]:
		return inFleet
	case c.own[one.ID] || one.Name == fleet.ClientName:
		return isOwn
	case strings.ContainsAny(one.flags, "SM") || strings.HasPrefix(one.Name, "sentinel-"):
		return isOwn
	case who.has(one.Stranger):
		return isAllowed
	}
	return outside
}

func (c *census) strangers(who allowed) (out []Stranger) {
	for _, one := range c.clients {
		if c.placeOf(one, who) == outside {
			out = append(out, one.Stranger)
		}
	}
	return out
}

// Writers are the clients that may use keys: all but rekey's own and those that the plan allows. Other than in an audit
// those of the fleet are among them.
func Writers(ctx context.Context, store *fleet.Store, p *plan.Plan) (out []Stranger, err error) {
	c, err := takeCensus(ctx, store)
	if err != nil {
		return nil, err
	}
	who := allowing(p.Audit.Allow)
	for _, one := range c.clients {
		if at := c.placeOf(one, who); at == outside || at == inFleet && !who.has(one.Stranger) {
			out = append(out, one.Stranger)
		}
	}
	return out, nil
}

// count says how many clients there are, and where they belong.
func (c *census) count(who allowed) (all, inside, own, allowed int) {
	for _, one := range c.clients {
		switch c.placeOf(one, who) {
		case inFleet:
			inside++
		case isOwn:
			own++
		case isAllowed:
			allowed++
		}
	}
	return len(c.clients), inside, own, allowed
}

// allowed are users, client names, addresses and networks.
type allowed struct {
	words    []string
	networks []netip.Prefix
}

func allowing(lists ...[]string) (a allowed) {
	for _, word := range slices.Concat(lists...) {
		if network, err := netip.ParsePrefix(word); err == nil {
			a.networks = append(a.networks, network)
			continue
		}
		a.words = append(a.words, word)
	}
	return a
}

// host is the address without its port.
func (s Stranger) host() string {
	host := s.Addr
	if i := strings.LastIndexByte(host, ':'); i >= 0 {
		host = host[:i]
	}
	return strings.Trim(host, "[]")
}

func (a allowed) has(s Stranger) bool {
	host := s.host()
	for _, w := range a.words {
		if w != "" && (w == s.User || w == s.Name || w == s.Addr || w == host) {
			return true
		}
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && slices.ContainsFunc(a.networks, func(n netip.Prefix) bool { return n.Contains(ip.Unmap()) })
}

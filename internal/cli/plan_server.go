package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// serverVersion is what a server says that it is.
type serverVersion struct {
	flavor string // redis or valkey
	text   string // its own version; "" if it does not say
	// redis is the version of Redis that it counts as; 0.0 unknown.
	major, minor int
}

// hasCopy: COPY came with Redis 6.2. A server that does not say is taken to have it; the sweeps say
// so at once if not.
func (v serverVersion) hasCopy() bool { return v.major == 0 || v.atLeast(6, 2) }

// frozenClock: from 7.2 on the clock stands still inside a transaction.
func (v serverVersion) frozenClock() bool { return v.atLeast(7, 2) }

func (v serverVersion) atLeast(major, minor int) bool {
	return v.major > major || v.major == major && v.minor >= minor
}

// serverReport is what a server says of itself.
type serverReport struct {
	URL         string   `json:"url"`
	Flavor      string   `json:"flavor"`
	Version     string   `json:"version"`
	Role        string   `json:"role"`
	Cluster     bool     `json:"cluster"`
	Replicas    int      `json:"replicas"`
	Eviction    string   `json:"eviction"` // maxmemory-policy, "" if unknown
	UsedMemory  int64    `json:"used_memory"`
	MaxMemory   int64    `json:"max_memory"`   // 0: no limit
	TotalMemory int64    `json:"total_memory"` // of the machine, 0 unknown
	Modules     []string `json:"modules"`

	version serverVersion
}

// evicts: the server may drop keys for want of memory. What is not known is taken for the worse.
func (s *serverReport) evicts() bool { return s.Eviction != "noeviction" }

// room is how many bytes are left, and false if nothing limits them.
func (s *serverReport) room() (int64, bool) {
	limit := s.MaxMemory
	if limit == 0 {
		limit = s.TotalMemory
	}
	return limit - s.UsedMemory, limit > 0
}

// askServer reads INFO.
func askServer(ctx context.Context, c *redis.Client, url string) (*serverReport, error) {
	text, err := c.Info(ctx).Result()
	if err != nil {
		return nil, fmt.Errorf("ask the server what it is: INFO: %w", err)
	}
	return readInfo(text, url), nil
}

// readInfo reads INFO's text. What it does not say stays zero.
func readInfo(text, url string) *serverReport {
	fields := make(map[string]string)
	modules := []string{}
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), ":")
		switch {
		case !ok:
		case name == "module": // module:name=ReJSON,ver=20609,...
			first, _, _ := strings.Cut(value, ",")
			modules = append(modules, strings.TrimPrefix(first, "name="))
		default:
			fields[name] = value
		}
	}
	number := func(name string) int64 {
		n, err := strconv.ParseInt(fields[name], 10, 64)
		if err != nil {
			return 0 // not said
		}
		return n
	}
	s := &serverReport{
		URL: url, Flavor: "redis", Version: fields["redis_version"], Role: fields["role"],
		Cluster:  fields["redis_mode"] == "cluster" || fields["cluster_enabled"] == "1",
		Replicas: int(number("connected_slaves")), Eviction: fields["maxmemory_policy"],
		UsedMemory: number("used_memory"), MaxMemory: number("maxmemory"), TotalMemory: number("total_system_memory"),
		Modules: modules,
	}
	s.version = serverVersion{flavor: s.Flavor, text: s.Version}
	// A Valkey tells the Redis version that it is compatible with, 7.2.4, and its own beside it.
	if v := fields["valkey_version"]; v != "" {
		s.Flavor, s.Version = "valkey", v
		s.version = serverVersion{flavor: "valkey", text: v}
	}
	compatible := fields["redis_version"]
	if s.Flavor == "valkey" && compatible == "" {
		compatible = "7.2"
	}
	if _, err := fmt.Sscanf(compatible, "%d.%d", &s.version.major, &s.version.minor); err != nil {
		s.version.major, s.version.minor = 0, 0
	}
	return s
}

// evictionCost says what each policy does to a mirror. noeviction costs nothing.
func evictionCost(policy string) string {
	switch {
	case policy == "":
		return "the server does not say its eviction policy, so rekey takes it that keys may be evicted: in settled, writes are recopied (slower on big keys)"
	case strings.HasPrefix(policy, "volatile-"):
		return policy + ": keys with a TTL may be evicted, one copy of two as well; in settled writes are recopied (slower on big keys), and a legacy key without its target counts as evicted"
	default:
		return policy + ": any key may be evicted, one copy of two as well, and rekey's own records; in settled writes are recopied (slower on big keys), and a legacy key without its target counts as evicted"
	}
}

package querycache

import (
	"errors"
	"slices"
	"time"

	"github.com/classwaves/rekey/classwaves/keys"
	"github.com/classwaves/rekey/classwaves/ttl"
)

// Type is a kind of query. Its name is part of the entries' names in Redis and a label of metrics:
// types are made by programs, not from requests.
type Type struct {
	// Name holds no colon.
	Name string
	// TTL is the lifetime of a result, before jitter. It must be positive.
	TTL time.Duration
	// Compress lets values over 4096 bytes be compressed. Both forms are always read.
	Compress bool
}

// The types of ClassWaves.
var (
	SessionList      = Type{Name: "session-list", TTL: ttl.QuerySessionList, Compress: true}
	SessionDetail    = Type{Name: "session-detail", TTL: ttl.QuerySessionDetail, Compress: true}
	TeacherAnalytics = Type{Name: "teacher-analytics", TTL: ttl.QueryTeacherAnalytics, Compress: true}
	SessionAnalytics = Type{Name: "session-analytics", TTL: ttl.QuerySessionAnalytics, Compress: true}
	GroupStatus      = Type{Name: "group-status", TTL: ttl.QueryGroupStatus}
	DashboardMetrics = Type{Name: "dashboard-metrics", TTL: ttl.QueryDashboardMetrics}
)

// Entry names a result.
type Entry struct {
	Type Type
	// Key tells the results of a type apart. Any bytes, 1 to 512 of them.
	Key string
	// Tags are what the result was made from: invalidating one of them invalidates the entry. Their
	// order does not matter. At most 64. Without tags an entry ends with its lifetime only, or by a
	// Scope that covers it where epochs are off.
	Tags []string
}

// Scope says what to invalidate, in the words of both ways of doing it: with epochs the entries
// that have one of Tags; without, the entries of Type whose keys begin with Prefix. It is for the
// program to see that these are the same ones. Both parts must be given whatever the setting, so
// that changing the setting turns no invalidation into one that does nothing.
type Scope struct {
	Type Type
	// Prefix is compared byte by byte: "teacher:1" covers "teacher:12" as well. Empty means all
	// entries of the type.
	Prefix string
	// Tags are at least one and at most 64.
	Tags []string
}

// Errors of use. They are returned before anything is sent.
var (
	// ErrType is a type without a positive TTL.
	ErrType = errors.New("query cache: a type needs a positive TTL")
	// ErrTags is a scope without tags, or more tags than 64.
	ErrTags = errors.New("query cache: a scope needs at least one tag, and nothing has more than 64")
	// ErrClosed is what a closed cache answers.
	ErrClosed = errors.New("query cache: closed")
)

const (
	// freshPart of a lifetime passes before an entry is loaded again in the background.
	freshPart = 0.7
	// staleFor is how long an expired entry is kept for loaders that fail.
	staleFor = 60 * time.Second
	// compressFrom is the size above which values are compressed.
	compressFrom = 4096
	// maxTags bounds the keys of one read.
	maxTags = 64
)

// names are an entry's keys in Redis.
type names struct {
	entry, lock string
	tags        []string // sorted, each once: the order of versions
	counters    []string // the tags' keys; nil without epochs
	reads       []string // what a read asks for: the entry, then the counters
}

func namesOf(e Entry, epochs bool) (n names, err error) {
	if e.Type.TTL <= 0 {
		return n, ErrType
	}
	if n.entry, err = keys.QueryCache(e.Type.Name, e.Key); err != nil {
		return n, err
	}
	if n.lock, err = keys.QueryCacheLock(e.Type.Name, e.Key); err != nil {
		return n, err
	}
	n.tags = sorted(e.Tags)
	if n.counters, err = counterNames(n.tags); err != nil {
		return n, err
	}
	if !epochs {
		n.counters = nil
	}
	n.reads = append(append(make([]string, 0, 1+len(n.counters)), n.entry), n.counters...)
	return n, nil
}

// sorted gives each tag once, in an order that does not depend on the caller's.
func sorted(tags []string) []string {
	if len(tags) < 2 {
		return tags
	}
	tags = slices.Clone(tags)
	slices.Sort(tags)
	return slices.Compact(tags)
}

func counterNames(tags []string) ([]string, error) {
	if len(tags) > maxTags {
		return nil, ErrTags
	}
	counters := make([]string, len(tags))
	for i, tag := range tags {
		var err error
		if counters[i], err = keys.TagVersion(tag); err != nil {
			return nil, err
		}
	}
	return counters, nil
}

package oldrelease

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/classwaves/keys"
	"github.com/classwaves/rekey/classwaves/ttl"
)

// SessionMetrics reads a class session's metrics, and fills the cache on a miss: always under the legacy
// name.
func (p *Process) SessionMetrics(ctx context.Context, session string, load func() string) (string, error) {
	name, err := keys.AnalyticsSession(session)
	if err != nil {
		return "", err
	}
	value, found, err := p.Get(ctx, name)
	if err != nil || found {
		return value, err
	}
	value = load()
	if err := p.rdb.Set(ctx, name, value, ttl.AnalyticsSession).Err(); err != nil {
		return "", fmt.Errorf("fill: %w", err)
	}
	return value, nil
}

// UpdateMetrics writes a class session's metrics as the flags say.
func (p *Process) UpdateMetrics(ctx context.Context, session, value string) error {
	name, err := keys.AnalyticsSession(session)
	if err != nil {
		return err
	}
	return p.Set(ctx, name, value, ttl.AnalyticsSession)
}

// Sync is the job that writes live metrics to the database: of those class sessions that a scan of the
// legacy names finds.
func (p *Process) Sync(ctx context.Context) (map[string]string, error) {
	pattern, err := keys.AnalyticsSession("*")
	if err != nil {
		return nil, err
	}
	out := make(map[string]string)
	for cursor := uint64(0); ; {
		names, next, err := p.rdb.Scan(ctx, cursor, pattern, 100).Result()
		if err != nil {
			return nil, fmt.Errorf("scan: %w", err)
		}
		for _, name := range names {
			value, found, err := p.Get(ctx, name)
			if err != nil {
				return nil, err
			}
			if found {
				out[strings.TrimPrefix(name, strings.TrimSuffix(pattern, "*"))] = value
			}
		}
		if cursor = next; cursor == 0 {
			return out, nil
		}
	}
}

// Cached reads a query's result with its tag's version in front of it, and loads it where the version is
// another one. The version that it stores is that of the moment after the load.
func (p *Process) Cached(ctx context.Context, queryType, key, tag string, load func() string) (string, error) {
	name, err := keys.QueryCache(queryType, key)
	if err != nil {
		return "", err
	}
	text, found, err := p.Get(ctx, name)
	if err != nil {
		return "", err
	}
	version, err := p.tagVersion(ctx, tag)
	if err != nil {
		return "", err
	}
	if stored, value, ok := strings.Cut(text, " "); found && ok && stored == strconv.FormatInt(version, 10) {
		return value, nil
	}
	value := load()
	if version, err = p.tagVersion(ctx, tag); err != nil {
		return "", err
	}
	return value, p.Set(ctx, name, strconv.FormatInt(version, 10)+" "+value, ttl.QuerySessionDetail)
}

// Invalidate makes what was stored under a tag old. The counter's name never got a prefix, so all
// environments of a database share it.
func (p *Process) Invalidate(ctx context.Context, tag string) error {
	name, err := keys.TagVersion(tag)
	if err != nil {
		return err
	}
	return p.rdb.Incr(ctx, name).Err()
}

func (p *Process) tagVersion(ctx context.Context, tag string) (int64, error) {
	name, err := keys.TagVersion(tag)
	if err != nil {
		return 0, err
	}
	n, err := p.rdb.Get(ctx, name).Int64()
	if err != nil && !errors.Is(err, redis.Nil) {
		return 0, fmt.Errorf("read a version: %w", err)
	}
	return n, nil
}

package clienttest

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

// TestCachedReads: rueidis answers a key from its memory until another connection, which goes
// through any phase that may stand beside the reader's, writes it. Values and misses are cached.
func TestCachedReads(t *testing.T) {
	server := redistest.Shared(t)
	bare := server.Client()
	for _, pair := range neighbours() {
		reader, writer := pair[0], pair[1]
		t.Run(reader.String()+" beside "+writer.phase.String(), func(t *testing.T) {
			must(t, bare.FlushAll(t.Context()).Err())
			ctx := t.Context()
			c := ruEidis(t, in(t, reader), server)
			w := goRedis(t, in(t, writer), server)
			k := reader.key("cached")
			read := func() (value string, hit bool) {
				res := c.DoCache(ctx, c.B().Get().Key(k).Cache(), time.Minute)
				value, err := res.ToString()
				if err != nil && !rueidis.IsRedisNil(err) {
					t.Fatal(err)
				}
				return value, res.IsCacheHit()
			}
			for _, change := range []struct {
				name string
				do   func() error
				want string
			}{
				{"nothing", func() error { return nil }, ""},
				{"SET", func() error { return w.Set(ctx, k, "1", 0).Err() }, "1"},
				{"APPEND", func() error { return w.Append(ctx, k, "2").Err() }, "12"},
				{"DEL", func() error { return w.Del(ctx, k).Err() }, ""},
				{"SET after a cached miss", func() error { return w.Set(ctx, k, "3", 0).Err() }, "3"},
			} {
				must(t, change.do())
				eventually(t, change.name+": the new value", func() bool { v, _ := read(); return v == change.want })
				eventually(t, change.name+": an answer from memory", func() bool {
					v, hit := read()
					if v != change.want {
						t.Fatalf("%s: read %q, want %q", change.name, v, change.want)
					}
					return hit
				})
			}
		})
	}
}

// TestCachesForget: what a client keeps in memory under one phase is forgotten at the next, because
// neighbours may from now on write another name than the one that the server remembers for it.
func TestCachesForget(t *testing.T) {
	server := redistest.Shared(t)
	bare := server.Client()
	ctx := t.Context()
	source := rekey.NewManual(map[string]phase.Phase{"mirror": phase.Guard})
	r := open(t, rekey.WithSource(source))
	c := ruEidis(t, r, server)
	must(t, bare.Set(ctx, "mi:k", "old", 0).Err())
	read := func() (string, bool) {
		res := c.DoCache(ctx, c.B().Get().Key("mi:k").Cache(), time.Minute)
		v, err := res.ToString()
		must(t, err)
		return v, res.IsCacheHit()
	}
	eventually(t, "an answer from memory", func() bool { _, hit := read(); return hit })
	source.Set(map[string]phase.Phase{"mirror": phase.Prefixed})
	reached(t, r, map[string]phase.Phase{"mirror": phase.Prefixed})
	// Under prefixed only the target name is written. The server never heard of it from this
	// client, so nothing but the change of phase can have emptied its memory.
	must(t, bare.Set(ctx, "cw:test:mi:k", "new", 0).Err())
	eventually(t, "the value of the new phase", func() bool { v, _ := read(); return v == "new" })
}

// TestGoRedisCache is the same for go-redis, whose client-side cache has its own way to look for
// invalidations on idle connections.
func TestGoRedisCache(t *testing.T) {
	server := redistest.Shared(t)
	bare := server.Client()
	for _, pair := range neighbours() {
		reader, writer := pair[0], pair[1]
		t.Run(reader.String()+" beside "+writer.phase.String(), func(t *testing.T) {
			must(t, bare.FlushAll(t.Context()).Err())
			ctx := t.Context()
			cache := redis.NewLocalCache(redis.CacheConfig{MaxEntries: 100})
			c := goRedis(t, in(t, reader), server, func(o *redis.Options) {
				o.Protocol, o.ClientSideCache, o.PoolSize = 3, cache, 1
			})
			w := goRedis(t, in(t, writer), server)
			k := reader.key("cached")
			for _, want := range []string{"", "1", "2"} {
				if want != "" {
					must(t, w.Set(ctx, k, want, 0).Err())
				}
				eventually(t, "value "+want, func() bool {
					v, err := c.Get(ctx, k).Result()
					return v == want && (want != "" || err == redis.Nil)
				})
				eventually(t, "an entry in the cache", func() bool {
					v := c.Get(ctx, k).Val()
					if v != want {
						t.Fatalf("read %q, want %q", v, want)
					}
					return cache.Len() > 0
				})
			}
		})
	}
}

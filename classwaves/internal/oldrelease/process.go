package oldrelease

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// State is how the flags of a process stand.
type State uint8

// The states, in the order of the seed's rollout.
const (
	Old          State = iota // CW_CACHE_PREFIX_ENABLED=0 CW_CACHE_DUAL_WRITE=0
	DualWrite                 // 1, 1
	PrefixedOnly              // 1, 0
)

// States are all of them.
var States = [...]State{Old, DualWrite, PrefixedOnly}

func (s State) String() string { return [...]string{"old", "dual", "prefixed-only"}[s] }

// Process is one process of the old release.
type Process struct {
	rdb         *redis.Client
	environment string
	state       State
	fallbacks   atomic.Uint64
}

// New makes a process whose flags stand at a state. The client is the caller's.
func New(rdb *redis.Client, environment string, s State) *Process {
	return &Process{rdb: rdb, environment: environment, state: s}
}

// LegacyFallbacks is how many reads found their value under the legacy name only.
func (p *Process) LegacyFallbacks() uint64 { return p.fallbacks.Load() }

// Identifier is what the release made of an identifier before it built a name of it: two of them can
// become one.
func Identifier(id string) string { return strings.ReplaceAll(id, ":", "_") }

// Prefixed is the prefixed name of a legacy one.
func (p *Process) Prefixed(legacy string) string { return "cw:" + p.environment + ":" + legacy }

// written are the names that a write goes to.
func (p *Process) written(legacy string) []string {
	switch p.state {
	case DualWrite:
		return []string{p.Prefixed(legacy), legacy}
	case PrefixedOnly:
		return []string{p.Prefixed(legacy)}
	default:
		return []string{legacy}
	}
}

// Get reads a string.
func (p *Process) Get(ctx context.Context, legacy string) (value string, found bool, err error) {
	if p.state != Old {
		value, found, err = get(ctx, p.rdb, p.Prefixed(legacy))
		if err != nil || found {
			return value, found, err
		}
	}
	value, found, err = get(ctx, p.rdb, legacy)
	if found && p.state != Old {
		p.fallbacks.Add(1)
	}
	return value, found, err
}

func get(ctx context.Context, rdb *redis.Client, name string) (string, bool, error) {
	value, err := rdb.Get(ctx, name).Result()
	if errors.Is(err, redis.Nil) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("read: %w", err)
	}
	return value, true, nil
}

// Set writes a string.
func (p *Process) Set(ctx context.Context, legacy, value string, ttl time.Duration) error {
	for _, name := range p.written(legacy) {
		if err := p.rdb.Set(ctx, name, value, ttl).Err(); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
	return nil
}

// Delete removes a key of any type.
func (p *Process) Delete(ctx context.Context, legacy string) error {
	for _, name := range p.written(legacy) {
		if err := p.rdb.Del(ctx, name).Err(); err != nil {
			return fmt.Errorf("delete: %w", err)
		}
	}
	return nil
}

// Add adds a member to a set: to each copy of it that the flags name, and so to a copy that holds
// nothing of what the other one does.
func (p *Process) Add(ctx context.Context, legacy, member string, ttl time.Duration) error {
	for _, name := range p.written(legacy) {
		if err := errors.Join(p.rdb.SAdd(ctx, name, member).Err(), p.rdb.Expire(ctx, name, ttl).Err()); err != nil {
			return fmt.Errorf("add to a set: %w", err)
		}
	}
	return nil
}

// Remove removes a member from a set.
func (p *Process) Remove(ctx context.Context, legacy, member string) error {
	for _, name := range p.written(legacy) {
		if err := p.rdb.SRem(ctx, name, member).Err(); err != nil {
			return fmt.Errorf("remove from a set: %w", err)
		}
	}
	return nil
}

// Members reads a set: the prefixed one if there is one, whatever is in the other.
func (p *Process) Members(ctx context.Context, legacy string) ([]string, error) {
	name := legacy
	if p.state != Old {
		n, err := p.rdb.Exists(ctx, p.Prefixed(legacy)).Result()
		if err != nil {
			return nil, fmt.Errorf("look for a set: %w", err)
		}
		if n > 0 {
			name = p.Prefixed(legacy)
		} else {
			p.fallbacks.Add(1)
		}
	}
	members, err := p.rdb.SMembers(ctx, name).Result()
	if err != nil {
		return nil, fmt.Errorf("read a set: %w", err)
	}
	return members, nil
}

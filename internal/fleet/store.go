package fleet

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// Scripts, because most of them decide on what they read.
var (
	//go:embed lua/renew.lua
	renewText string
	//go:embed lua/admit.lua
	admitText string
	//go:embed lua/found.lua
	foundText string
	//go:embed lua/instances.lua
	instancesText string
	//go:embed lua/leave.lua
	leaveText string

	renewScript = redis.NewScript(renewText)
	admitScript = redis.NewScript(admitText)
	foundScript = redis.NewScript(foundText)

	instancesScript = redis.NewScript(instancesText)
	leaveScript     = redis.NewScript(leaveText)
)

// Store reads and writes the control records of a plan.
type Store struct {
	keys   Keys
	client *redis.Client
}

// NewStore makes a store on a client of the database that holds the control records.
func NewStore(p *plan.Plan, client *redis.Client) *Store { return &Store{KeysOf(p), client} }

// Keys are the names of the records.
func (s *Store) Keys() Keys { return s.keys }

// Client is the client under the store.
func (s *Store) Client() *redis.Client { return s.client }

// State is what an instance learns when it renews.
type State struct {
	Now     int64             // the server's clock, in microseconds
	Targets map[string]Target // by rule
}

// ErrNoRecord says that the instance's record is gone: a controller has removed it, or all records are
// lost.
var ErrNoRecord = errors.New("rekey: the record of this instance is gone")

// Join makes the record of an instance. Its Renewed is the server's to fill in.
func (s *Store) Join(ctx context.Context, i *Instance) (State, error) {
	return s.renew(ctx, i, "join", nil)
}

// Renew dates the record of an instance and says what the instance has reached. gone are connections
// that are closed. The error is [ErrNoRecord] where there is none to renew.
func (s *Store) Renew(ctx context.Context, i *Instance, gone []string) (State, error) {
	return s.renew(ctx, i, "renew", gone)
}

func (s *Store) renew(ctx context.Context, i *Instance, mode string, gone []string) (State, error) {
	text, err := json.Marshal(i)
	if err != nil {
		return State{}, fmt.Errorf("rekey: encode the record of this instance: %w", err)
	}
	_, rest, found := strings.Cut(string(text), ",") // "renewed" is the first field
	if !found {
		return State{}, errors.New("rekey: encode the record of this instance: it has one field")
	}
	args := []any{i.ID, mode, rest}
	for _, c := range gone {
		args = append(args, c)
	}
	reply, err := renewScript.Run(ctx, s.client, []string{s.keys.Fleet(), s.keys.Phase(), s.keys.Conns(i.ID)}, args...).Slice()
	if err != nil {
		return State{}, fmt.Errorf("rekey: renew the lease: %w", err)
	}
	state, ok, err := parseRenewal(reply)
	if err == nil && !ok {
		err = ErrNoRecord
	}
	return state, err
}

var errReply = errors.New("rekey: the server's reply to a script of the fleet cannot be read")

func parseRenewal(reply []any) (s State, ok bool, err error) {
	if len(reply) != 3 {
		return s, false, errReply
	}
	done, isInt := reply[0].(int64)
	now, isTime := reply[1].(int64)
	flat, isList := reply[2].([]any)
	if !isInt || !isTime || !isList {
		return s, false, errReply
	}
	s.Now = now
	s.Targets, err = parseTargets(flat)
	return s, done == 1, err
}

func parseTargets(flat []any) (map[string]Target, error) {
	targets := make(map[string]Target, len(flat)/2)
	for i := 0; i+1 < len(flat); i += 2 {
		rule, isRule := flat[i].(string)
		text, isText := flat[i+1].(string)
		if !isRule || !isText {
			return nil, errReply
		}
		t, err := ParseTarget(rule, text)
		if err != nil {
			return nil, err
		}
		targets[rule] = t
	}
	return targets, nil
}

// Leave removes the record of an instance that ends in order.
func (s *Store) Leave(ctx context.Context, id string) error {
	err := leaveScript.Run(ctx, s.client, []string{s.keys.Fleet(), s.keys.Conns(id)}, id).Err()
	if err != nil {
		return fmt.Errorf("rekey: leave the fleet: %w", err)
	}
	return nil
}

// ErrLeaseLost says that a lease has run out.
var ErrLeaseLost = errors.New("rekey: lease lost")

// Admit enters a connection, by its CLIENT ID, into the record of an instance, and gives it as it stands there:
// "run id of the server:CLIENT ID". leased says that the instance has rules that are not parked: then its
// lease must not have run out.
func (s *Store) Admit(ctx context.Context, id string, client int64, leased bool) (conn string, err error) {
	want := "record"
	if leased {
		want = "lease"
	}
	reply, err := admitScript.Run(ctx, s.client, []string{s.keys.Fleet(), s.keys.Conns(id)}, id, client, want).Result()
	if err != nil {
		return "", fmt.Errorf("rekey: admit a connection: %w", err)
	}
	switch v := reply.(type) {
	case string:
		return v, nil
	case int64:
		if v < 0 {
			return "", ErrLeaseLost
		}
		return "", ErrNoRecord
	}
	return "", errReply
}

// Found makes the targets of rules that have none: every rule in hashes begins at legacy. It gives all
// targets that there are afterwards.
func (s *Store) Found(ctx context.Context, epoch string, hashes map[string]string, by string) (map[string]Target, error) {
	now, err := s.client.Time(ctx).Result()
	if err != nil {
		return nil, fmt.Errorf("rekey: read the server's time: %w", err)
	}
	args := []any{epoch}
	const mark = "@epoch@"
	for rule, hash := range hashes {
		text, err := json.Marshal(Target{Phase: phase.Legacy, Epoch: mark, Hash: hash, At: now.UTC(), By: by, Format: Format})
		if err != nil {
			return nil, fmt.Errorf("rekey: encode the target of rule %s: %w", rule, err)
		}
		before, behind, _ := strings.Cut(string(text), mark)
		args = append(args, rule, before, behind)
	}
	flat, err := foundScript.Run(ctx, s.client, []string{s.keys.Phase()}, args...).Slice()
	if err != nil {
		return nil, fmt.Errorf("rekey: begin the records: %w", err)
	}
	return parseTargets(flat)
}

// Wake makes the instances that listen look at the records now, and gives how many do.
func (s *Store) Wake(ctx context.Context) (listeners int64, err error) {
	if listeners, err = s.client.Publish(ctx, s.keys.Events(), "").Result(); err != nil {
		return 0, fmt.Errorf("rekey: wake the fleet: %w", err)
	}
	return listeners, nil
}

// Age is how long the server has been running; less than 0 where it does not tell.
func (s *Store) Age(ctx context.Context) (time.Duration, error) {
	info, err := s.client.Info(ctx, "server").Result()
	var refused redis.Error
	if errors.As(err, &refused) {
		return -1, nil
	}
	if err != nil {
		return 0, fmt.Errorf("rekey: ask the server for its age: %w", err)
	}
	_, rest, found := strings.Cut(info, "uptime_in_seconds:")
	text, _, _ := strings.Cut(rest, "\r\n")
	seconds, err := strconv.Atoi(text)
	if !found || err != nil {
		return -1, nil
	}
	return time.Duration(seconds) * time.Second, nil
}

// Targets reads all targets.
func (s *Store) Targets(ctx context.Context) (map[string]Target, error) {
	all, err := s.client.HGetAll(ctx, s.keys.Phase()).Result()
	if err != nil {
		return nil, fmt.Errorf("rekey: read the targets: %w", err)
	}
	targets := make(map[string]Target, len(all))
	for rule, text := range all {
		if targets[rule], err = ParseTarget(rule, text); err != nil {
			return nil, err
		}
	}
	return targets, nil
}

// AnyName says whether a database has a name of a template.
func (s *Store) AnyName(ctx context.Context, database int, glob []byte, match func([]byte) bool) (bool, error) {
	o := *s.client.Options()
	o.DB = database
	client := redis.NewClient(&o)
	defer func() { _ = client.Close() }() // it was read from
	const page = 1000
	for cursor := uint64(0); ; {
		names, next, err := client.Scan(ctx, cursor, string(glob), page).Result()
		if err != nil {
			return false, fmt.Errorf("rekey: look for target names: %w", err)
		}
		if slices.ContainsFunc(names, func(name string) bool { return match([]byte(name)) }) {
			return true, nil
		}
		if cursor = next; cursor == 0 {
			return false, nil
		}
	}
}

// Instances reads all instances, and the server's clock in microseconds at that moment.
func (s *Store) Instances(ctx context.Context) (instances []Instance, now int64, err error) {
	reply, err := instancesScript.Run(ctx, s.client, []string{s.keys.Fleet()}).Slice()
	if err != nil {
		return nil, 0, fmt.Errorf("rekey: read the fleet: %w", err)
	}
	if len(reply) != 2 {
		return nil, 0, errReply
	}
	now, isTime := reply[0].(int64)
	flat, isList := reply[1].([]any)
	if !isTime || !isList {
		return nil, 0, errReply
	}
	for n := 1; n < len(flat); n += 2 {
		text, isText := flat[n].(string)
		if !isText {
			return nil, 0, errReply
		}
		i, err := ParseInstance(text)
		if err != nil {
			return nil, 0, err
		}
		instances = append(instances, i)
	}
	return instances, now, nil
}

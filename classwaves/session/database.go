package session

import (
	"context"
	"errors"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/classwaves/rekey/classwaves/unavailable"
)

// How long the database has for a change: longer than for a look, since logins of one teacher wait
// for each other.
const writeTimeout = 5 * time.Second

// breakerPause is how long a store that failed several times in a row is left alone.
const breakerPause = time.Second

// database is the Backing behind a timeout and a circuit breaker. Each of its errors is an
// *unavailable.Error.
type database struct {
	backing Backing
	look    time.Duration
	breaker *gobreaker.CircuitBreaker[struct{}]
	outage  outage
}

func newDatabase(cfg *Config) *database {
	return &database{
		backing: cfg.Backing, look: cfg.DatabaseTimeout, breaker: newBreaker("database"),
		outage: outage{log: cfg.Logger, begins: "the database of sessions is unavailable", ends: "the database of sessions is back"},
	}
}

// breakerFailures in a row are several.
const breakerFailures = 3

// newBreaker makes the circuit breaker of a store. A caller that goes away is no failure.
func newBreaker(name string) *gobreaker.CircuitBreaker[struct{}] {
	return gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
		Name: name, Timeout: breakerPause,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= breakerFailures },
		IsExcluded:  func(err error) bool { return errors.Is(err, context.Canceled) },
	})
}

// do runs one step on the database.
func (d *database) do(ctx context.Context, op string, within time.Duration, step func(context.Context) error) error {
	_, err := d.breaker.Execute(func() (struct{}, error) {
		ctx, cancel := context.WithTimeout(ctx, within)
		defer cancel()
		return struct{}{}, step(ctx)
	})
	if err == nil {
		d.outage.end()
		return nil
	}
	if !errors.Is(err, context.Canceled) {
		d.outage.begin(err)
	}
	var already *unavailable.Error
	if errors.As(err, &already) {
		return err
	}
	return &unavailable.Error{Op: op, Err: err}
}

func (d *database) find(ctx context.Context, hash string) (r Record, found bool, err error) {
	err = d.do(ctx, "find session in the database", d.look, func(ctx context.Context) error {
		var err error
		r, found, err = d.backing.FindSession(ctx, hash)
		return err
	})
	return r, found, err
}

func (d *database) save(ctx context.Context, r Record, limit Limit) (saved Saved, err error) {
	err = d.do(ctx, "save session in the database", writeTimeout, func(ctx context.Context) error {
		var err error
		saved, err = d.backing.SaveSession(ctx, r, limit)
		return err
	})
	return saved, err
}

func (d *database) revoke(ctx context.Context, hashes []string, at time.Time) (ended []Record, err error) {
	if len(hashes) == 0 {
		return nil, nil
	}
	err = d.do(ctx, "end sessions in the database", writeTimeout, func(ctx context.Context) error {
		var err error
		ended, err = d.backing.RevokeSessions(ctx, hashes, at)
		return err
	})
	return ended, err
}

func (d *database) revokeTeacher(ctx context.Context, teacherID string, at time.Time, upTo int64) (ended []Record, order int64, err error) {
	err = d.do(ctx, "end a teacher's sessions in the database", writeTimeout, func(ctx context.Context) error {
		var err error
		ended, order, err = d.backing.RevokeTeacher(ctx, teacherID, at, upTo)
		return err
	})
	return ended, order, err
}

func (d *database) pending(ctx context.Context, after string, limit int) (records []Record, err error) {
	err = d.do(ctx, "list what the cache has to be told", writeTimeout, func(ctx context.Context) error {
		var err error
		records, err = d.backing.PendingSessions(ctx, after, limit)
		return err
	})
	return records, err
}

func (d *database) settle(ctx context.Context, settled []Settled) (changed []string, err error) {
	if len(settled) == 0 {
		return nil, nil
	}
	err = d.do(ctx, "settle sessions in the database", writeTimeout, func(ctx context.Context) error {
		var err error
		changed, err = d.backing.SettleSessions(ctx, settled)
		return err
	})
	return changed, err
}

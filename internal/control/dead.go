package control

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// bury goes past dead instances: those whose leases have run out, and those that the operator has named. It
// says whether there was anything to do.
//
// The record goes first, and in the same script the connections move into the set of those to be closed:
// from then on nobody can be admitted for the instance, and whoever controls the fleet next knows what is
// left to do. Bytes that a dead process left in a socket's buffers are read by the server until its end of
// the connection is closed; CLIENT KILL closes it, and answers after that.
func (c *Controller) bury(ctx context.Context, s *snapshot) (bool, error) {
	c.burying.Lock()
	defer c.burying.Unlock()
	keys, some := c.store.Keys(), s.unburied > 0
	for i := range s.instances {
		one := &s.instances[i]
		date := strconv.FormatInt(one.Renewed, 10)
		switch {
		case forgotten(one, c.forget):
			date = ""
		case !one.Lost(s.now) || s.server.runID != "" && s.server.uptime < time.Duration(one.Lease)*time.Microsecond:
			// While the server was down nobody could renew.
			continue
		}
		what := entry{What: "bury", By: c.Owner, Gen: c.lock.holder.Gen, Instance: title(one), Evidence: map[string]any{
			"id": one.ID, "renewed": one.Renewed, "lease": one.Lease, "seen": s.now, "named": date == "",
		}}
		done, _, err := c.lock.run(ctx, "bury", buryScript, c.client,
			[]string{keys.Lock(), keys.Fleet(), keys.Conns(one.ID), keys.Conns(unburiedID), keys.Audit()},
			append([]any{one.ID, date}, entryArgs(what)...)...)
		if err != nil {
			return some, err
		}
		some = true // it is dead, or the snapshot was old
		if done == 1 {
			c.tell(Event{Kind: Buried, Instance: title(one)})
		}
	}
	if !some {
		return false, nil
	}
	return true, c.closeUnburied(ctx)
}

// closeUnburied closes the connections of dead instances, dead controllers and broken sweeps on the server.
func (c *Controller) closeUnburied(ctx context.Context) error {
	conn := c.client.Conn() // one server for the question and the deed
	defer conn.Close()      // back to the pool; all was answered
	keys := c.store.Keys()
	members, err := conn.SMembers(ctx, keys.Conns(unburiedID)).Result()
	if err != nil {
		return fmt.Errorf("rekey: read the connections of dead instances: %w", err)
	}
	if len(members) == 0 {
		return nil
	}
	info, err := conn.Info(ctx, "server").Result()
	if err != nil {
		return fmt.Errorf("rekey: ask the server for its run id: %w", err)
	}
	here := parseIdentity(info).runID
	var kills []*redis.IntCmd
	var closed []any
	pipe := conn.Pipeline()
	for _, m := range members {
		run, id, _ := strings.Cut(m, ":")
		closed = append(closed, m)
		if isOfRun(run, here) { // those of another run ended with it
			kills = append(kills, pipe.ClientKillByFilter(ctx, "ID", id))
		}
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return killError(err)
	}
	for _, k := range kills { // 1: it was open; 0: it was not
		if err := k.Err(); err != nil {
			return killError(err)
		}
	}
	_, _, err = c.lock.run(ctx, "closed", closedScript, conn, []string{keys.Lock(), keys.Conns(unburiedID)}, closed...)
	return err
}

func killError(err error) error {
	if strings.HasPrefix(err.Error(), "NOPERM") {
		return fmt.Errorf("rekey: connections of dead instances cannot be closed: %w; give this command's user +client|kill", err)
	}
	return fmt.Errorf("rekey: close the connections of dead instances: %w", err)
}

// resolveForgotten finds the instances that the operator means. A name means those that there are now: one
// that was taken for dead and lives joins again under its name, and is to be waited for like any other.
func (c *Controller) resolveForgotten(ctx context.Context) error {
	if len(c.Forget) == 0 {
		return nil
	}
	s, err := takeSnapshot(ctx, c.store, c.plan)
	if err != nil {
		return err
	}
	for i := range s.instances {
		if forgotten(&s.instances[i], c.Forget) {
			c.forget = append(c.forget, s.instances[i].ID)
		}
	}
	return nil
}

// condemn has connections of a sweep closed that did not come to its end: what it sent last may be on its way.
// Until that is written down no step is made: where it fails, the next one that is settled begins with it.
func (c *Controller) condemn(ctx context.Context, members []string) error {
	c.burying.Lock()
	defer c.burying.Unlock()
	c.late = append(c.late, members...)
	if len(c.late) == 0 {
		return nil
	}
	keys := c.store.Keys()
	args := make([]any, 0, len(c.late))
	for _, m := range c.late {
		args = append(args, m)
	}
	if _, _, err := c.lock.run(ctx, "condemn", condemnScript, c.client,
		[]string{keys.Lock(), keys.Conns(sweepsID), keys.Conns(unburiedID)}, args...); err != nil {
		return err
	}
	c.late = nil
	return c.closeUnburied(ctx)
}

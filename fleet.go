package rekey

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/classwaves/rekey/internal/command"
	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/internal/intercept"
	"github.com/classwaves/rekey/phase"
)

// FleetConfig says how an instance shows itself in the fleet.
type FleetConfig struct {
	// Name is what operators see, such as the name of the service. It need not be unique. Default: the
	// program's name.
	Name string
	// Version is the program's, for operators.
	Version string
}

// How long a change of phase waits for what the application holds up: an open MULTI or WATCH is given up
// after the first time, and a connection whose command is still unanswered is cut after the second.
const (
	abandonAfter = 5 * time.Second
	cutAfter     = 15 * time.Second
)

// fleetEngine steers an instance for its agent.
type fleetEngine struct{ r *Rekey }

var _ fleet.Engine = fleetEngine{}

// Follow implements [fleet.Engine].
func (e fleetEngine) Follow(ctx context.Context, phases []phase.Phase) error {
	r := e.r
	if err := r.changeTo(ctx, phases, phases); err != nil {
		return err
	}
	r.cutUnknown()
	version := r.rules.Table().Version
	for after, end := range map[time.Duration]func(*intercept.Conn){
		abandonAfter: func(c *intercept.Conn) { c.Abandon(version) },
		cutAfter:     func(c *intercept.Conn) { c.Cut(ErrHeldUp) },
	} {
		timer := time.AfterFunc(after, func() {
			for conn := range r.conns.all() {
				if conn.Oldest() < version {
					end(conn)
				}
			}
		})
		defer timer.Stop()
	}
	return r.waitReached(ctx)
}

// Shut implements [fleet.Engine].
func (e fleetEngine) Shut(reasons []string) {
	if !slices.ContainsFunc(reasons, func(s string) bool { return s != "" }) {
		reasons = nil
	}
	e.r.tables.Lock()
	defer e.r.tables.Unlock()
	now := e.r.rules.Table()
	if now == nil || slices.Equal(now.Closed, reasons) {
		return
	}
	// The phases are those of before, so nothing has to wait for this: it is the same table.
	e.r.rules.SetTable(&intercept.Table{Version: now.Version, Phases: now.Phases, Closed: reasons})
}

// Reset implements [fleet.Engine].
func (e fleetEngine) Reset(ctx context.Context, phases []phase.Phase, reason error) error {
	r := e.r
	r.changing.Lock()
	defer r.changing.Unlock()
	for conn := range r.conns.all() {
		conn.Cut(reason)
	}
	if err := r.cutStray(ctx); err != nil {
		return err
	}
	r.mu.Lock()
	r.wanted = phases
	r.mu.Unlock()
	r.set(phases)
	return nil
}

// Used implements [fleet.Engine].
func (e fleetEngine) Used(rule int) (reads, fallbacks uint64) {
	c := &e.r.rules.Stats.Rules[rule]
	return c.Commands[command.ClassRead].Load(), c.Fallbacks.Load()
}

// Behind implements [fleet.Engine].
func (e fleetEngine) Behind() string {
	live, stray := e.r.conns.behind(e.r.rules.Table().Version)
	switch {
	case live > 0:
		return fmt.Sprintf("commands of an earlier phase are under way on %d connections", live)
	case len(stray) > 0:
		return fmt.Sprintf("%d closed connections are not known to be gone from the server", len(stray))
	}
	return ""
}

// Readmit implements [fleet.Engine].
func (e fleetEngine) Readmit() {
	r := e.r
	for _, conn := range r.conns.unknown() {
		id, _ := conn.Identity()
		entry, err := r.agent.Admit(id)
		if err != nil {
			return // the next renewal asks again
		}
		if entry != "" {
			r.conns.enter(conn, entry)
		}
	}
}

// cutStray waits until nothing of a closed connection can run any more.
func (r *Rekey) cutStray(ctx context.Context) error {
	for {
		_, stray := r.conns.behind(intercept.Never)
		var failed error
		for _, s := range stray {
			if err := s.cutOff(ctx); err != nil {
				failed = err
				continue
			}
			r.conns.forget(s)
		}
		if failed == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return &ReachError{Closed: len(stray), Err: failed}
		case <-time.After(cutPause):
		}
	}
}

// admit asks the fleet for a connection before its first command.
func (r *Rekey) admit(live *liveConn, id int64) error {
	entry, err := r.agent.Admit(id)
	if err != nil {
		return err
	}
	r.conns.mu.Lock()
	defer r.conns.mu.Unlock()
	live.admitted, live.entry = true, entry
	if entry == "" && !r.allParked() {
		return fmt.Errorf("%w: this connection is not in the fleet's records, and a rule is on its way", fleet.ErrLeaseLost)
	}
	return nil
}

func (r *Rekey) allParked() bool {
	return !slices.ContainsFunc(r.rules.Table().Phases, func(p phase.Phase) bool { return !p.Parked() })
}

// cutUnknown closes connections that the fleet's records do not know, when a rule leaves its parking:
// nobody could close them if this instance were lost.
func (r *Rekey) cutUnknown() {
	if r.allParked() {
		return
	}
	for _, conn := range r.conns.unknown() {
		conn.Cut(fmt.Errorf("%w: this connection was opened without the fleet's records; open it again", fleet.ErrLeaseLost))
	}
}

// programName is what operators see of an instance that says no name.
func programName() string { return filepath.Base(os.Args[0]) }

// joinFleet enters the fleet, and gives the phases to begin with.
func (r *Rekey) joinFleet(ctx context.Context, c *FleetConfig) (first []phase.Phase, err error) {
	name := cmp.Or(c.Name, programName())
	r.agent, first, err = fleet.JoinAgent(ctx, fleet.AgentConfig{
		Plan: r.plan, Engine: fleetEngine{r}, Name: name, Version: c.Version, Logger: r.log,
	})
	if err != nil {
		return nil, &RecordsError{err}
	}
	r.wanted = first
	r.conns.gone = r.agent.Closed
	return first, nil
}

// leaveTimeout bounds how long Close waits until nothing of its connections can run any more.
const leaveTimeout = 5 * time.Second

// leaveFleet closes the connections and takes the instance out of the fleet. Where it cannot be known
// that they run nothing any more, the record stays: a controller waits for the end of the lease, and
// closes them on the server.
func (r *Rekey) leaveFleet() error {
	if r.agent == nil {
		return nil
	}
	for conn := range r.conns.all() {
		_ = conn.Close() // the application closes its client as well; nothing is left to do with the error
	}
	ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
	defer cancel()
	if err := r.cutStray(ctx); err != nil {
		return errors.Join(err, r.agent.Close(fleet.StayRecorded))
	}
	return r.agent.Close(fleet.Leave)
}

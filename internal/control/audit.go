package control

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/command"
	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

var (
	//go:embed lua/keep.lua
	keepText   string
	keepScript = redis.NewScript(keepText)
)

// AuditOptions are how strangers are looked for.
type AuditOptions struct {
	// Allow are users, client names, addresses (with or without port) and networks (CIDR) that may stay
	// outside, beside the plan's.
	Allow []string
	// Monitor is how long the server's commands are listened to; 0: not at all.
	Monitor time.Duration
}

// AuditReport is who was found outside.
type AuditReport struct {
	At      time.Time     `json:"at"` // by the server's clock
	Monitor time.Duration `json:"monitor_ns"`
	RunID   string        `json:"run_id"`
	// Clean: there is no stranger, and none was seen to use a legacy name.
	Clean     bool       `json:"clean"`
	Clients   int        `json:"clients"` // of the server
	Fleet     int        `json:"fleet"`   // of them admitted by instances
	Own       int        `json:"own"`     // rekey's own
	Allowed   int        `json:"allowed"`
	Found     int        `json:"found"` // how many strangers
	Strangers []Stranger `json:"strangers,omitempty"`
	Uses      []Use      `json:"uses,omitempty"`
}

// Stranger is a connection that is in nobody's record.
type Stranger struct {
	ID       int64         `json:"id"`
	Addr     string        `json:"addr"`
	Name     string        `json:"name,omitempty"`
	User     string        `json:"user,omitempty"`
	Library  string        `json:"library,omitempty"`
	Database int           `json:"db"`
	Age      time.Duration `json:"age_ns"`
	Idle     time.Duration `json:"idle_ns"`
	Command  string        `json:"command,omitempty"` // its last one, without arguments
	Gone     bool          `json:"gone,omitempty"`    // it was there for a moment
}

// Use is how often somebody outside used a legacy name while the server was listened to.
type Use struct {
	Addr    string `json:"addr"`
	Name    string `json:"name,omitempty"`
	User    string `json:"user,omitempty"`
	Rule    string `json:"rule"`
	Command string `json:"command"`
	Times   int    `json:"times"`
	Allowed bool   `json:"allowed"` // it may stay outside, but should it use the rule's names?
}

// Audit looks for strangers and keeps what it found for `status`.
func Audit(ctx context.Context, store *fleet.Store, p *plan.Plan, o AuditOptions) (AuditReport, error) {
	return audit(ctx, store, p, o)
}

// auditKind stands in the name of the record of the last audit where a sweep's kind does in those of verdicts.
const auditKind = "audit"

// kept is how many strangers the record of an audit names.
const kept = 50

func auditKey(store *fleet.Store) string { return store.Keys().Sweep(auditKind, "fleet") }

// A connection that was opened a moment ago may be an instance's that is about to be admitted. So a stranger
// is one that is there and outside each time it is looked, or was between the first and the last time, had used keys,
// and is known at none of them: an instance's uses none before it is admitted, and none at all where it is there to
// close another one.
const (
	looks    = 4
	lookEach = 100 * time.Millisecond
)

func audit(ctx context.Context, store *fleet.Store, p *plan.Plan, o AuditOptions) (AuditReport, error) {
	who := allowing(p.Audit.Allow, o.Allow)
	seen, err := takeCensus(ctx, store)
	if err != nil {
		return AuditReport{}, err
	}
	report := AuditReport{At: time.UnixMicro(seen.now).UTC(), RunID: seen.runID, Monitor: o.Monitor}
	if o.Monitor > 0 {
		if report.Uses, err = listen(ctx, store, p, seen, who, o.Monitor); err != nil {
			return AuditReport{}, err
		}
		if seen, err = takeCensus(ctx, store); err != nil {
			return AuditReport{}, err
		}
	}
	all := []*census{seen}
	for len(all) < looks && len(seen.strangers(who)) > 0 {
		if err := pause(ctx, lookEach); err != nil {
			return AuditReport{}, err
		}
		if seen, err = takeCensus(ctx, store); err != nil {
			return AuditReport{}, err
		}
		all = append(all, seen)
	}
	report.Strangers = strangersOf(all, who)
	report.Found = len(report.Strangers)
	report.Clients, report.Fleet, report.Own, report.Allowed = seen.count(who)
	report.Clean = report.Found == 0 && !slices.ContainsFunc(report.Uses, func(u Use) bool { return !u.Allowed })
	return report, keepAudit(ctx, store, report)
}

// strangersOf are who was outside at all looks, and who has used keys and came or went between them.
func strangersOf(all []*census, who allowed) (out []Stranger) {
	last := all[len(all)-1]
	seen, there := make(map[int64]int), make(map[int64]bool)
	for _, c := range all {
		for _, s := range c.strangers(who) {
			seen[s.ID]++
		}
	}
	for _, one := range last.clients {
		there[one.ID] = true
	}
	for _, s := range last.strangers(who) {
		if seen[s.ID] == len(all) {
			out = append(out, s)
		}
	}
	for _, c := range all[1:max(1, len(all)-1)] {
		for _, s := range c.strangers(who) {
			// The records of before know one that has been taken off them since.
			known := slices.ContainsFunc(all, func(c *census) bool { return c.fleet[s.ID] || c.own[s.ID] })
			if !known && usesKeys(s.Command) && seen[s.ID] < len(all) {
				seen[s.ID] = len(all) // it is told of
				s.Gone = !there[s.ID]
				out = append(out, s)
			}
		}
	}
	return out
}

// usesKeys says whether a command may name keys, as CLIENT LIST has it. One that is not known may.
func usesKeys(name string) bool {
	if name == "" || name == "NULL" { // nothing was sent
		return false
	}
	c, ok := command.Lookup(bytes.Split([]byte(name), []byte{'|'}))
	return !ok || c.TakesKeys()
}

// keepAudit writes the report for [LastAudit].
func keepAudit(ctx context.Context, store *fleet.Store, report AuditReport) error {
	report.Strangers = report.Strangers[:min(len(report.Strangers), kept)]
	text, err := json.Marshal(report)
	if err != nil {
		return fmt.Errorf("rekey: encode the audit: %w", err)
	}
	if err := keepScript.Run(ctx, store.Client(), []string{auditKey(store)}, text).Err(); err != nil {
		return fmt.Errorf("rekey: keep the audit: %w", err)
	}
	return nil
}

// LastAudit is the audit that was made last; false where there was none.
func LastAudit(ctx context.Context, store *fleet.Store) (AuditReport, bool, error) {
	text, err := store.Client().Get(ctx, auditKey(store)).Bytes()
	if errors.Is(err, redis.Nil) {
		return AuditReport{}, false, nil
	}
	if err != nil {
		return AuditReport{}, false, fmt.Errorf("rekey: read the last audit: %w", err)
	}
	var report AuditReport
	if err := json.Unmarshal(text, &report); err != nil {
		return AuditReport{}, false, fmt.Errorf("rekey: the record of the last audit cannot be read: %w", err)
	}
	return report, true, nil
}

// auditFor makes the audit that belongs to a step, if one does.
func (w *walker) auditFor(ctx context.Context, step phase.Step) (*AuditReport, error) {
	s, err := w.look(ctx, time.Now())
	if err != nil {
		return nil, err
	}
	if !step.Audit && s.live() > 0 {
		return nil, nil
	}
	report, err := Audit(ctx, w.store, w.plan, AuditOptions{Allow: w.AllowStranger, Monitor: w.Monitor})
	if err != nil || report.Clean {
		return &report, err
	}
	return nil, blockedError(report.blockers())
}

// named is how many strangers are named one by one.
const named = 10

// blockers are what an audit found.
func (r AuditReport) blockers() (out []Blocker) {
	for _, s := range r.Strangers[:min(len(r.Strangers), named)] {
		is, address := " is connected and in nobody's record", s.Addr
		if s.Gone { // it comes back from another port
			is, address = " came and went and was in nobody's record", s.host()
		}
		out = append(out, Blocker{Reason: Strangers, Name: s.Addr, Text: s.String() + is + ", so it counts as legacy",
			Try: "open it with rekey or stop it; --allow-stranger " + address + " if it never uses these keys"})
	}
	if more := len(r.Strangers) - named; more > 0 {
		out = append(out, Blocker{Reason: Strangers, Text: fmt.Sprintf("%d more are", more), Try: "rekey audit lists them"})
	}
	for _, u := range r.Uses {
		if !u.Allowed {
			out = append(out, Blocker{Reason: Strangers, Name: u.Addr, Text: fmt.Sprintf("%s used legacy names of rule %s %d times, with %s", u.who(), u.Rule, u.Times, u.Command),
				Try: "open it with rekey or stop it"})
		}
	}
	return out
}

// String is a stranger for people.
func (s Stranger) String() string {
	text := "client " + s.Addr
	if s.Name != "" {
		text += " named " + s.Name
	}
	if s.User != "" {
		text += " of user " + s.User
	}
	return text
}

func (u Use) who() string { return Stranger{Addr: u.Addr, Name: u.Name, User: u.User}.String() }

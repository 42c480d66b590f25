package control

import (
	"context"
	"time"

	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/plan"
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

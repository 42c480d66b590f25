package cli

import (
	"time"
)

// statusReport is what `rekey status` says, as --json prints it.
type statusReport struct {
	Type        string           `json:"type"`
	Plan        string           `json:"plan"`
	Environment string           `json:"environment"`
	Server      *statusServer    `json:"server"`
	At          time.Time        `json:"at"` // by the server's clock
	Control     statusControl    `json:"control"`
	Rules       []statusRule     `json:"rules"`
	Instances   []statusInstance `json:"instances"`
	Findings    []statusFinding  `json:"findings"`
	Next        string           `json:"next"`
}

// statusServer is where the fleet lives.
type statusServer struct {
	URL      string `json:"url"`
	Flavor   string `json:"flavor"`
	Version  string `json:"version"`
	Role     string `json:"role"`
	Replicas int    `json:"replicas"`
}

// statusControl is who walks the fleet.
type statusControl struct {
	Owner       string  `json:"owner,omitempty"` // "": nobody
	Generation  int64   `json:"generation"`      // of the present owner, or of the last one
	SecondsLeft float64 `json:"seconds_left,omitempty"`
}

// statusRule is one rule of the plan.
type statusRule struct {
	Rule      string         `json:"rule"`
	Strategy  string         `json:"strategy"`
	Phase     string         `json:"phase"` // "": nothing is recorded of it
	Parked    bool           `json:"parked"`
	Frozen    bool           `json:"frozen"`
	Since     time.Time      `json:"since,omitzero"`
	By        string         `json:"by,omitempty"`
	Reached   int            `json:"reached"` // by so many live instances
	Live      int            `json:"live"`    // of so many
	Phases    map[string]int `json:"phases"`  // how many live instances are in which
	Reads     uint64         `json:"reads"`   // of all instances
	Fallbacks uint64         `json:"fallbacks"`
	// Next is the phase after this one, "" at the end of the walk; WaitsFor is what it wants, in words.
	Next     string       `json:"next"`
	WaitsFor []statusWait `json:"waits_for"`
}

// statusWait is one thing that a step waits for.
type statusWait struct {
	What string `json:"what"`           // a reason of package control
	Name string `json:"name,omitempty"` // of the instance or the gate
	Text string `json:"text"`
	Try  string `json:"try,omitempty"`
	// Work says that the controller does it as part of the step: a sweep, an audit, a soak.
	Work bool `json:"work"`
}

// statusInstance is one process of the fleet.
type statusInstance struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Host    string    `json:"host"`
	PID     int       `json:"pid"`
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	State   string    `json:"state"` // live, lost, observer or unreadable
	Note    string    `json:"note,omitempty"`
	// RenewedSeconds is how long ago it was heard of, LeaseSeconds how long that lasts.
	RenewedSeconds float64         `json:"renewed_seconds"`
	LeaseSeconds   float64         `json:"lease_seconds"`
	Rules          []statusReached `json:"rules"`
}

// statusReached is how far an instance is in one rule.
type statusReached struct {
	Rule    string `json:"rule"`
	Phase   string `json:"phase"` // "": it does not know the rule, or has not said
	Reached bool   `json:"reached"`
	Why     string `json:"why,omitempty"` // where it has not
}

// statusFinding is something that the operator should know.
type statusFinding struct {
	Level string `json:"level"` // warning or unsafe
	Text  string `json:"text"`
	Try   string `json:"try,omitempty"`
}

// The states of an instance.
const (
	stateLive       = "live"
	stateLost       = "lost"
	stateObserver   = "observer"
	stateUnreadable = "unreadable" // its record is of another version
)

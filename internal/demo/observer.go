package demo

import "time"

// Observer is told how a demo goes. All calls are made by one goroutine, which waits for them.
type Observer interface {
	// Started is the first call: everything is set up and traffic begins.
	Started(Setup)
	// Stepped tells of an instance that has come to another phase.
	Stepped(Step)
	// Swept tells how far a sweep is, and that it has ended.
	Swept(Sweep)
	// Checked tells that every key was read and compared.
	Checked(Check)
	// Ticked tells the counts, several times a second.
	Ticked(Tick)
}

// Setup is what a demo consists of.
type Setup struct {
	Server    string   `json:"server"`
	Strategy  string   `json:"strategy"` // "naive" for the flag flip
	Instances []string `json:"instances"`
	Libraries []string `json:"libraries"` // of each instance
	Kinds     int      `json:"kinds"`
	Keys      int      `json:"keys"`
	Phases    []string `json:"phases"` // the way, without the way back
	Seconds   float64  `json:"seconds"`
	Seed      uint64   `json:"seed"`
}

// Step is one instance's change of phase. Steps of the rate limiter's own strategy are part of it.
type Step struct {
	At       time.Duration `json:"-"`
	Instance int           `json:"instance"` // index in Setup.Instances
	From     string        `json:"from"`
	To       string        `json:"to"`
	Index    int           `json:"index"` // of To in Setup.Phases
	Last     bool          `json:"last"`  // the whole fleet is there
}

// Sweep is one sweep over the rules that need it.
type Sweep struct {
	At      time.Duration `json:"-"`
	Kind    string        `json:"kind"`
	Proves  string        `json:"proves"` // what holds when the gate does
	Rules   []string      `json:"rules"`
	Matched int64         `json:"matched"`
	Changed int64         `json:"changed"`
	Part    float64       `json:"part"` // how much of it is done, 0 to 1
	Done    bool          `json:"done"`
}

// Check is a comparison of the whole keyspace with what it must hold.
type Check struct {
	At    time.Duration `json:"-"`
	Keys  int           `json:"keys"`
	Where string        `json:"where"` // the phase
	Wrong int64         `json:"wrong"`
}

// Tick is the counts of a moment.
type Tick struct {
	At        time.Duration `json:"-"`
	Part      float64       `json:"part"` // how much of the walk is done, 0 to 1
	Ops       int64         `json:"ops"`
	Fallbacks int64         `json:"fallbacks"`
	Moved     int64         `json:"keys_moved"`
	Lost      int64         `json:"lost"`
	Stale     int64         `json:"stale"`
	Revived   int64         `json:"revived"`
}

// Nobody observes nothing.
type Nobody struct{}

// Started implements [Observer].
func (Nobody) Started(Setup) {}

// Stepped implements [Observer].
func (Nobody) Stepped(Step) {}

// Swept implements [Observer].
func (Nobody) Swept(Sweep) {}

// Checked implements [Observer].
func (Nobody) Checked(Check) {}

// Ticked implements [Observer].
func (Nobody) Ticked(Tick) {}

var _ Observer = Nobody{}

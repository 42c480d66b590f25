// Package plan reads rekey.yaml: a server, an environment and the rules whose keys get new names.
//
// A plan that was loaded is whole and consistent: every key is known, every value was checked, and the rules' names cannot
// be confused ([keyname.Set]). Everything else is refused with an [Error] that names the file and line, the rules, an
// example key and what to do. Passwords are in no error and in no printed form of a plan.
package plan

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/classwaves/rekey/internal/keyname"
	"github.com/classwaves/rekey/phase"
)

// Defaults for what a plan leaves out.
const (
	DefaultControlPrefix = "rekey:{env}:"
	DefaultLease         = 15 * time.Second
	DefaultRenew         = 5 * time.Second
	DefaultMargin        = 3 * time.Second
	DefaultSoak          = 10 * time.Minute
)

// Plan is a checked rekey.yaml. It is not changed after it was loaded.
type Plan struct {
	File        string        // where it was read from, for messages
	Environment string        // [A-Za-z0-9_-]+, what {env} stands for
	Server      Server        // where the keys are
	Databases   []int         // the databases in which the rules hold, in order; default 0
	Fleet       Fleet         // timing of the instances' leases
	Soak        time.Duration // how long no read may fall back before a step that asks for it; default 10m, 0: no soak
	Audit       Audit         // who may stay outside
	Rules       []Rule        // in the order of the file, which is the order of Names too

	control, controlText string
	names                *keyname.Set
}

// Server is how the server is reached, and what it does.
type Server struct {
	// URL is redis://, rediss:// or unix://. With Sentinel its host is the name of the master. It may be empty: the
	// command line has --redis.
	URL URL
	// Sentinel is the addresses (host:port) of the sentinels; none without.
	Sentinel []string
	TLS      TLS
	// Evicts says whether the server may drop keys for want of memory (any policy but noeviction). nil: not said, so it
	// is asked of the server, and taken for true where it does not answer.
	Evicts *bool
}

// TLS is files in PEM. The zero value trusts the system's authorities and shows no certificate.
type TLS struct {
	CA        string
	Cert, Key string // both or none
}

// Fleet is the timing of the instances' leases. Renew is less than Lease minus Margin.
type Fleet struct {
	Lease  time.Duration // how long a lease lasts; default 15s
	Renew  time.Duration // how often it is renewed; default 5s
	Margin time.Duration // how long before the lease's end an instance stops by itself; default 3s
}

// Audit is what an audit leaves out.
type Audit struct {
	Allow []string // users, client names or addresses
}

// Rule is one pair of templates and how its keys move.
type Rule struct {
	Name       string // [a-z0-9_-]+
	LegacyText string // the templates as written
	TargetText string
	Strategy   phase.Strategy
	Colocate   bool // both names in one slot of a cluster
	Flags      phase.Flags
	Line       int // where the rule begins in the file
}

// Option changes how a plan is read.
type Option func(*settings)

type settings struct {
	environment, fallback string
}

// WithEnvironment sets the environment, whatever the plan says: --env of the command line. An empty name changes nothing.
func WithEnvironment(env string) Option { return func(s *settings) { s.environment = env } }

// WithDefaultEnvironment sets the environment of a plan that names none. It is for applications, with [Environment]; an
// operator's shell must not walk an environment that nobody named.
func WithDefaultEnvironment(env string) Option { return func(s *settings) { s.fallback = env } }

// Environment returns the environment of an application: CW_ENV, else NODE_ENV, else development. A variable that is
// empty counts as unset.
func Environment(lookup func(string) (string, bool)) string {
	for _, name := range []string{"CW_ENV", "NODE_ENV"} {
		if env, ok := lookup(name); ok && env != "" {
			return env
		}
	}
	return "development"
}

// Load reads a plan from a file, with ${VAR} from the process's environment. A refusal is an *[Error].
func Load(path string, opts ...Option) (*Plan, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, &Error{File: path, Reason: "the plan cannot be read: " + err.Error(), Hint: "name the plan with -f FILE", Err: err}
	}
	return Parse(path, data, os.LookupEnv, opts...)
}

// Parse reads a plan from memory. The name stands for the file in messages; lookup gives the values of ${VAR}. A refusal
// is an *[Error].
func Parse(name string, data []byte, lookup func(string) (string, bool), opts ...Option) (*Plan, error) {
	var s settings
	for _, o := range opts {
		o(&s)
	}
	doc, err := read(name, data, lookup)
	if err != nil {
		return nil, err
	}
	return doc.check(s)
}

// Names returns the rules compiled: which rule a name belongs to. Its i-th pair is Rules[i]. Its type is that of rekey's own
// packages, which alone have a use for it.
func (p *Plan) Names() *keyname.Set { return p.names }

// ControlPrefix returns what rekey's own keys begin with, the environment filled in.
func (p *Plan) ControlPrefix() string { return p.control }

// AnyControl returns the template of rekey's own keys of any environment that have a name behind their prefix; the name is a
// template too. It is false where all environments have the same ones. As with [Plan.Names], only rekey's own packages have a
// use for it.
func (p *Plan) AnyControl(name string) (*keyname.Template, bool) {
	t, err := keyname.Parse(p.controlText+name, p.Environment)
	if err != nil {
		return nil, false
	}
	return t.AnyEnvironment()
}

// Index returns the place of a rule in Rules.
func (p *Plan) Index(rule string) (int, bool) {
	i := slices.IndexFunc(p.Rules, func(r Rule) bool { return r.Name == rule })
	return i, i >= 0
}

// Hash returns a fingerprint of Rules[rule]: of the environment, the databases, the templates, the strategy and colocate. Two
// instances whose fingerprints differ would not treat the same keys alike.
func (p *Plan) Hash(rule int) string {
	r := p.Rules[rule]
	h := sha256.New()
	part := func(text string) {
		// The length in front keeps the border between two parts.
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(text)))) // a hash's Write returns no error
		h.Write([]byte(text))
	}
	part("rekey rule 1")
	part(p.Environment)
	part(fmt.Sprint(slices.Sorted(slices.Values(p.Databases))))
	part(r.LegacyText)
	part(r.TargetText)
	part(r.Strategy.String())
	part(fmt.Sprint(r.Colocate))
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// String is one line about the plan, without its password.
func (p *Plan) String() string {
	return fmt.Sprintf("%s: environment %s, %d rules, server %s", p.File, p.Environment, len(p.Rules), p.Server.URL)
}

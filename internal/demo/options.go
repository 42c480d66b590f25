package demo

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// Defaults for what [Options] leaves zero.
const (
	DefaultDuration  = 20 * time.Second
	DefaultInstances = 4
	DefaultKeys      = 400
)

// The limits of what makes sense on one machine.
const (
	maxInstances = 64
	maxDuration  = time.Hour
	minKeys      = 2 * hotPerKind
	maxKeys      = 1_000_000
)

// ErrOptions is a demo that was asked for in a way that makes no sense.
var ErrOptions = errors.New("rekey: demo options")

// Options is what can be chosen. The zero value is the default demo.
type Options struct {
	// URL is a real server; "": one is embedded. Its database must be empty, or KeysPrefix set.
	URL plan.URL
	// KeysPrefix begins every name that the demo uses, rekey's own among them. Names that begin with
	// it must not exist yet. They are removed at the end.
	KeysPrefix string
	// Strategy is how the keys move; 0: mirror. The rate limiter's keys move by the move strategy
	// always, as in the plan that the demo is modelled on.
	Strategy phase.Strategy
	// Instances is how many processes are played; 0: [DefaultInstances]; at least 2, so that two
	// phases can be mixed.
	Instances int
	// Keys is how many there are of each kind; 0: [DefaultKeys]; at least 48, most of which
	// get little traffic. The embedded server is slow with many.
	Keys int
	// Duration is how long the walk takes, about; 0: [DefaultDuration].
	Duration time.Duration
	// Seed chooses the traffic; 0: one is drawn. Threads decide the rest.
	Seed uint64
	// Naive walks by the plain flag flip, without rekey.
	Naive bool
	// Observer is told what happens, by one goroutine; nil: nobody.
	Observer Observer
}

func (o Options) withDefaults() (Options, error) {
	fail := func(format string, args ...any) (Options, error) {
		return o, fmt.Errorf("%w: %s", ErrOptions, fmt.Sprintf(format, args...))
	}
	if o.Naive && o.Strategy != 0 {
		return fail("the naive flip has no strategy")
	}
	if o.Strategy == 0 {
		o.Strategy = phase.Mirror
	}
	if o.Instances == 0 {
		o.Instances = DefaultInstances
	}
	if o.Duration == 0 {
		o.Duration = DefaultDuration
	}
	if o.Seed == 0 {
		o.Seed = uint64(rand.Uint32()) | 1 // 32 bits: people type it
	}
	if o.Keys == 0 {
		o.Keys = DefaultKeys
	}
	if o.Observer == nil {
		o.Observer = Nobody{}
	}
	switch {
	case o.Instances < 2 || o.Instances > maxInstances:
		return fail("%d instances: from 2, so that two phases can be mixed, to %d", o.Instances, maxInstances)
	case o.Keys < minKeys || o.Keys > maxKeys:
		return fail("%d keys of each kind: from %d to %d", o.Keys, minKeys, maxKeys)
	case o.Duration < 0 || o.Duration > maxDuration:
		return fail("%v: the walk takes from a moment to %v", o.Duration, maxDuration)
	case strings.ContainsAny(o.KeysPrefix, "\r\n\t\""):
		return fail("the keys' prefix %q holds a line break, a tab or a quote", o.KeysPrefix)
	case len(o.KeysPrefix) > 128:
		return fail("the keys' prefix has more than 128 bytes")
	}
	return o, nil
}

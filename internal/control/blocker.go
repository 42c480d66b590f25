package control

import (
	"fmt"
	"time"

	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/phase"
)

// Reason is what kind of thing holds a step up.
type Reason string

const (
	Behind      Reason = "behind"       // an instance has not reached the target
	OtherHash   Reason = "hash"         // an instance has another rule of this name
	LacksRule   Reason = "lacks-rule"   // an instance does not know the rule
	OtherFormat Reason = "format"       // a record of another version of rekey
	Observer    Reason = "observer"     // an instance obeys flags
	Lost        Reason = "lost"         // a lease has run out; the instance is to be buried
	Unburied    Reason = "unburied"     // connections of a dead instance are not yet closed
	NoInstance  Reason = "no-instances" // there is none, and nobody said that this is right
	OtherPlan   Reason = "plan"         // the target is of another plan
	Records     Reason = "records"      // records are gone or turned back
	Frozen      Reason = "frozen"
	Unproven    Reason = "gate" // a gate that the step cannot do without
	Asked       Reason = "asked"
	Strangers   Reason = "audit"
	Replicas    Reason = "replicas"
)

// Blocker is one thing that holds a step up.
type Blocker struct {
	Reason   Reason `json:"reason"`
	Instance string `json:"instance,omitempty"` // its id
	Name     string `json:"name,omitempty"`     // the same for people
	Gate     string `json:"gate,omitempty"`
	Text     string `json:"text"`          // what it is, as a sentence without a full stop
	Try      string `json:"try,omitempty"` // what to do about it
	// Passes: it goes away by itself, or a controller that makes the step sees to it.
	Passes bool `json:"passes"`

	cause error
}

// permanent are the blockers that nothing but an operator takes away.
func permanent(all []Blocker) (out []Blocker) {
	for _, b := range all {
		if !b.Passes {
			out = append(out, b)
		}
	}
	return out
}

// title is an instance for people.
func title(i *fleet.Instance) string {
	name := i.Name
	if name == "" {
		name = i.ID
	}
	return fmt.Sprintf("%s (%s, pid %d)", name, i.Host, i.PID)
}

// aside are words of the operator that change what blocks.
type aside struct {
	noInstances bool
	forget      []string
}

// blockers says what holds up a step of a rule before its gates are looked at: it is rule 1 and 2 of a step.
// It is a pure function of the records.
func blockers(s *snapshot, rule, hash string, words aside) (out []Blocker) {
	target, ok := s.targets[rule]
	switch {
	case s.badTargets[rule] != nil:
		return []Blocker{{Reason: OtherFormat, Text: "the target cannot be read: " + s.badTargets[rule].Error(), cause: s.badTargets[rule]}}
	case !ok && s.moved(rule):
		return []Blocker{recordsBlocker(rule, "its control record is gone, and instances have followed it before")}
	case !ok:
		return []Blocker{{Reason: Records, Text: "it has no control record yet", Try: "the first instance that joins, or the first step, makes it", Passes: true}}
	case target.Hash != hash:
		out = append(out, Blocker{Reason: OtherPlan, Text: "the fleet has other templates, databases or strategy for it than this plan",
			Try: "use the fleet's plan, or at phase legacy rekey restore-phase " + rule + " --phase legacy"})
	}
	if target.Frozen {
		out = append(out, Blocker{Reason: Frozen, Text: "it is frozen", Try: "rekey thaw " + rule})
	}
	for _, b := range s.broken {
		out = append(out, Blocker{Reason: OtherFormat, Instance: b.id, Name: b.name, Text: b.name + ": " + b.err.Error(),
			Try: "bring it and this program to one version", cause: b.err})
	}
	for i := range s.instances {
		one := &s.instances[i]
		if one.Lost(s.now) || forgotten(one, words.forget) {
			out = append(out, lostBlocker(one, s.now))
			continue
		}
		if b, held := instanceBlocker(one, rule, hash, target); held {
			out = append(out, b)
		}
	}
	if s.live() == 0 && !words.noInstances {
		out = append(out, Blocker{Reason: NoInstance, Text: "there is no instance in the fleet",
			Try: "start the applications, or add --no-instances if it is right that there is none", Passes: s.met})
	}
	if s.unburied > 0 {
		out = append(out, Blocker{Reason: Unburied, Passes: true,
			Text: fmt.Sprintf("%d connections of dead instances or controllers are not yet closed", s.unburied)})
	}
	return out
}

func recordsBlocker(rule, why string) Blocker {
	return Blocker{Reason: Records, Text: why, Try: "rekey restore-phase " + rule + " --phase PHASE, with the phase that the fleet is in", cause: fleet.ErrRestore}
}

func lostBlocker(i *fleet.Instance, now int64) Blocker {
	return Blocker{Reason: Lost, Instance: i.ID, Name: title(i), Passes: true,
		Text: fmt.Sprintf("%s has not renewed its lease for %s; the next step closes its connections and goes past it", title(i), age(i, now))}
}

// age is how long ago an instance renewed its lease.
func age(i *fleet.Instance, now int64) time.Duration {
	return (time.Duration(now-i.Renewed) * time.Microsecond).Round(time.Millisecond)
}

// instanceBlocker says why a live instance holds up a step.
func instanceBlocker(i *fleet.Instance, rule, hash string, target fleet.Target) (Blocker, bool) {
	b := Blocker{Instance: i.ID, Name: title(i)}
	state, knows := i.Rules[rule]
	switch {
	case i.Format != fleet.Format:
		b.Reason, b.Text = OtherFormat, fmt.Sprintf("%s writes records of format %d and this program of format %d", b.Name, i.Format, fleet.Format)
		b.Try = "bring it and this program to one version"
	case i.Observer:
		b.Reason, b.Text = Observer, fmt.Sprintf("%s obeys flags and not the fleet, so its phase can change at any time", b.Name)
		b.Try = "open it with the fleet, or stop it"
	case !knows:
		b.Reason, b.Text = LacksRule, fmt.Sprintf("%s does not know the rule, so it uses the legacy names", b.Name)
		b.Try = "give it the fleet's plan"
	case state.Hash != hash:
		b.Reason, b.Text = OtherHash, fmt.Sprintf("%s has other templates, databases or strategy for the rule", b.Name)
		b.Try = "give it the fleet's plan"
	case state.Beyond(target):
		b = recordsBlocker(rule, fmt.Sprintf("%s has followed a later control record than there is: the records were turned back", b.Name))
		b.Instance, b.Name = i.ID, title(i)
	case state.Mark != target.Mark || state.Phase != target.Phase || state.Epoch != target.Epoch:
		b.Reason, b.Passes = Behind, true
		b.Text = fmt.Sprintf("%s has not reached %s", b.Name, target.Phase)
		if state.Phase != 0 {
			b.Text = fmt.Sprintf("%s is in %s and has not reached %s", b.Name, state.Phase, target.Phase)
		}
		if state.Behind != "" {
			b.Text += ": " + state.Behind
		}
	default:
		return Blocker{}, false
	}
	return b, true
}

// live is how many instances have a lease, or a record that cannot be read.
func (s *snapshot) live() int {
	n := len(s.broken)
	for i := range s.instances {
		if !s.instances[i].Lost(s.now) {
			n++
		}
	}
	return n
}

// moved says whether a live instance has followed a target of the rule other than the first one.
func (s *snapshot) moved(rule string) bool {
	for i := range s.instances {
		if state, ok := s.instances[i].Rules[rule]; ok && !s.instances[i].Observer && state.Epoch != "" {
			return true
		}
	}
	return false
}

// forgotten says whether the operator has named an instance.
func forgotten(i *fleet.Instance, names []string) bool {
	for _, n := range names {
		if n != "" && (n == i.ID || n == i.Name) {
			return true
		}
	}
	return false
}

// GateState is one gate of a step.
type GateState struct {
	Gate   string `json:"gate"`
	Proves string `json:"proves"`
	Sweep  string `json:"sweep,omitempty"` // what proves it
	Asked  bool   `json:"asked"`           // the step is safe without it
	Holds  bool   `json:"holds"`
	Why    string `json:"why,omitempty"` // it does not
}

// Step is the next step of a rule in one direction.
type Step struct {
	To       phase.Phase `json:"to"`
	Back     bool        `json:"back"`
	Gates    []GateState `json:"gates,omitempty"`
	Audit    bool        `json:"audit"` // an audit for strangers belongs to it
	Blockers []Blocker   `json:"blockers,omitempty"`
}

package rekey

import "github.com/classwaves/rekey/internal/fleet"

// observed is what a process that obeys flags tells the fleet.
type observed struct{ r *Rekey }

var _ fleet.Watched = observed{}

// States implements [fleet.Watched].
func (o observed) States() []fleet.RuleState {
	table := o.r.rules.Table()
	out := make([]fleet.RuleState, len(o.r.plan.Rules))
	for i := range out {
		reads, fallbacks := fleetEngine(o).Used(i)
		out[i] = fleet.RuleState{
			Phase: table.Phase(i), Reads: reads, Fallbacks: fallbacks,
			Held: o.r.gated[i].held.Load(), Ungated: o.r.gated[i].ungated.Load(),
		}
	}
	return out
}

// Connections implements [fleet.Watched].
func (o observed) Connections() []int64 { return o.r.conns.ids() }

// showObserver begins to tell the fleet of a process that obeys flags.
func (r *Rekey) showObserver() (err error) {
	r.observer, err = fleet.StartObserver(fleet.ObserverConfig{Plan: r.plan, Watched: observed{r}, Name: programName(), Logger: r.log})
	return err
}

// tellObserver has it told that something is new.
func (r *Rekey) tellObserver() {
	if r.observer != nil {
		r.observer.Wake()
	}
}

package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/phase"
)

// maxProofs is how often gates are proven anew because something changed before the step could be made.
const maxProofs = 5

func isEOF(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// step makes one step. It is not made where something has changed on the way: then it is to be tried again.
func (w *walker) step(ctx context.Context, step phase.Step) (bool, error) {
	s, err := w.settle(ctx, w.rule, settleAll)
	if err != nil {
		return false, err
	}
	if s.targets[w.goal.Rule].Phase != step.From {
		return false, nil
	}
	if err := w.replicated(ctx, w.goal.Rule); err != nil {
		return false, err
	}
	if err := w.noteReached(ctx, s, w.rule); err != nil {
		return false, err
	}
	if done, err := w.prove(ctx, step); err != nil || !done {
		return false, err
	}
	report, err := w.auditFor(ctx, step)
	if err != nil {
		return false, err
	}
	// What was proven stays so as long as nothing of this has changed: the script looks again at what can.
	s, err = w.look(ctx, time.Now())
	if err != nil {
		return false, err
	}
	target := s.targets[w.goal.Rule]
	if len(blockers(s, w.goal.Rule, w.plan.Hash(w.rule), w.aside())) > 0 || target.Phase != step.From {
		return false, nil // settle says which
	}
	gates := w.gate.gates(s, w.rule, target, step)
	if slices.ContainsFunc(gates, func(g GateState) bool { return !g.Holds }) {
		return false, w.again(gates)
	}
	made, err := w.setTarget(ctx, s, w.rule, step.To, target.Epoch, entry{
		What: "step", From: step.From, To: step.To, Evidence: w.evidence(s, step, gates, report),
	})
	if made {
		w.tell(Event{Kind: Stepped, Rule: w.goal.Rule, From: step.From, To: step.To})
	}
	return made, err
}

// again counts proofs that came to nothing.
func (w *walker) again(gates []GateState) error {
	if w.proofs++; w.proofs < maxProofs {
		return nil
	}
	var out blockedError
	for _, g := range gates {
		if !g.Holds {
			out = append(out, gateBlocker(g.Gate, g.Asked, g.Why))
		}
	}
	return out
}

// gateBlocker is a gate that no sweep opens. A reason ends with what to do about it.
func gateBlocker(gate string, asked bool, why string) Blocker {
	b := Blocker{Reason: Unproven, Gate: gate, Text: why}
	if asked {
		b.Reason = Asked
	}
	if i := strings.LastIndex(why, "; "); i > 0 {
		b.Text, b.Try = why[:i], why[i+2:]
	}
	return b
}

// prove runs the sweeps of the gates that do not hold yet, and waits for the soak. It is false where
// something else has to be done before.
func (w *walker) prove(ctx context.Context, step phase.Step) (bool, error) {
	var gates []GateState
	for range 2 * (len(step.Gates) + len(step.Asked) + 1) { // each is proven once, or somebody works against us
		s, err := w.look(ctx, time.Now())
		if err != nil {
			return false, err
		}
		target := s.targets[w.goal.Rule]
		if target.Phase != step.From {
			return false, nil
		}
		gates = w.gate.gates(s, w.rule, target, step)
		open := slices.IndexFunc(gates, func(g GateState) bool { return !g.Holds })
		if open < 0 {
			return true, nil
		}
		gate, err := phase.ParseGate(gates[open].Gate)
		if err != nil {
			return false, err
		}
		if gate == phase.Quiet {
			return w.soak(ctx, s, target)
		}
		o, err := w.sweepFor(w.goal.Rule, target, gate)
		if err != nil {
			return false, err
		}
		result, err := w.sweepRule(ctx, o)
		if err != nil {
			return false, sweepError(err)
		}
		if holds, why := result.Verdict.Holds(gate); !holds {
			return false, w.refused(result, gate, step, why)
		}
		w.tell(Event{Kind: Proven, Rule: w.goal.Rule, From: step.From, To: step.To, Gate: gate.String()})
	}
	return false, w.again(gates)
}

// refused is a sweep that came to its end and did not prove its gate. A replica that was slow and a server
// that changed are tried again.
func (w *walker) refused(result sweep.Result, gate phase.Gate, step phase.Step, why string) error {
	if result.Found() == 0 && !result.Stored || strings.Contains(why, "failover") || strings.Contains(why, "acknowledged") {
		if w.proofs++; w.proofs < maxProofs {
			return nil
		}
	}
	return blockedError{gateBlocker(gate.String(), slices.Contains(step.Asked, gate), why)}
}

// sweepError makes blockers of what a sweep refuses because the operator has to decide.
func sweepError(err error) error {
	if errors.As(err, new(*sweep.SharedError)) {
		return blockedError{gateBlocker("", false, strings.TrimPrefix(err.Error(), "rekey: "))}
	}
	return err
}

// soak waits until nobody has read a legacy key for the time that is asked for.
func (w *walker) soak(ctx context.Context, s *snapshot, target fleet.Target) (bool, error) {
	if w.soaking.IsZero() {
		w.soaking = time.Now()
	}
	key := w.store.Keys().Sweep(quietKind, w.goal.Rule)
	for began := time.Now(); ; {
		holds, why := w.gate.quiet(s, w.rule, target)
		if holds {
			w.tell(Event{Kind: Proven, Rule: w.goal.Rule, From: target.Phase, Gate: phase.Quiet.String()})
			return true, nil
		}
		r, begun := readRecord[quietRecord](s, key)
		at, counted := r.At, s.fallbacks(w.goal.Rule)
		if noise, try := s.noise(w.goal.Rule, r.Fallbacks); !begun || r.Epoch != target.Epoch || r.Mark != target.Mark || noise != "" {
			if begun && noise != "" && time.Since(w.soaking) > 2*w.gate.soak+max(w.Patience, 0) {
				return false, blockedError{gateBlocker(phase.Quiet.String(), true, "the soak does not come to its end: "+noise+"; "+try)}
			}
			at = 0
		}
		if at == 0 || len(counted) > len(r.Fallbacks) { // one that has come is to be missed when it goes
			if err := w.put(ctx, "soak", key, quietRecord{Epoch: target.Epoch, Mark: target.Mark, Fallbacks: counted}, at); err != nil {
				return false, err
			}
		}
		w.tell(Event{Kind: Soaking, Rule: w.goal.Rule, From: target.Phase, Text: why})
		pace := w.pace(time.Since(began))
		if left := time.Duration(r.At-s.now)*time.Microsecond + w.gate.soak; left > 0 {
			pace = min(pace, max(left, w.Poll))
		}
		notBefore, err := w.rest(ctx, s, pace)
		if err != nil {
			return false, err
		}
		if s, err = w.look(ctx, notBefore); err != nil {
			return false, err
		}
		now := s.targets[w.goal.Rule]
		if now.Mark != target.Mark || now.Frozen {
			return false, nil
		}
		if len(blockersBut(blockers(s, w.goal.Rule, w.plan.Hash(w.rule), w.aside()), Behind)) > 0 {
			return false, nil // settle says which, or sees to it
		}
	}
}

// blockersBut leaves out one kind.
func blockersBut(all []Blocker, r Reason) []Blocker {
	return slices.DeleteFunc(all, func(b Blocker) bool { return b.Reason == r })
}

// evidenceOf is what the audit log keeps of a step.
type evidenceOf struct {
	Instances   int                      `json:"instances"`
	Gates       []GateState              `json:"gates,omitempty"`
	Verdicts    map[string]sweep.Verdict `json:"verdicts,omitempty"`
	Soak        string                   `json:"soak,omitempty"`
	Audit       *AuditReport             `json:"audit,omitempty"`
	Skipped     []string                 `json:"skipped,omitempty"`
	NoInstances bool                     `json:"no_instances,omitempty"`
	Replicas    int                      `json:"replicas"`
}

func (w *walker) evidence(s *snapshot, step phase.Step, gates []GateState, report *AuditReport) evidenceOf {
	out := evidenceOf{Instances: len(s.instances), Gates: gates, Audit: report, NoInstances: s.live() == 0, Replicas: s.server.replicas}
	for _, g := range gates {
		if g.Gate == phase.Quiet.String() {
			out.Soak = w.gate.soak.String()
			continue
		}
		if v, ok := s.verdict(w.store.Keys(), g.Sweep, w.goal.Rule); ok {
			if out.Verdicts == nil {
				out.Verdicts = make(map[string]sweep.Verdict)
			}
			out.Verdicts[g.Sweep] = v
		}
	}
	for _, g := range step.Asked {
		if slices.Contains(w.SkipAsked, g) {
			out.Skipped = append(out.Skipped, g.String())
		}
	}
	return out
}

// setTarget writes a rule's target, if all is still as the snapshot has it. It is false where it is not.
func (c *Controller) setTarget(ctx context.Context, s *snapshot, rule int, to phase.Phase, epoch string, e entry) (bool, error) {
	name, keys := c.plan.Rules[rule].Name, c.store.Keys()
	undated := time.Unix(0, 0).UTC()
	text, err := json.Marshal(fleet.Target{
		Phase: to, Epoch: epoch, Mark: c.nextMark(s, name),
		Hash: c.plan.Hash(rule), At: undated, By: c.Owner, Format: fleet.Format,
	})
	if err != nil {
		return false, fmt.Errorf("rekey: encode the target of rule %s: %w", name, err)
	}
	before, behind, ok := strings.Cut(string(text), undated.Format(time.RFC3339))
	if !ok {
		return false, fmt.Errorf("rekey: encode the target of rule %s: it has no date", name)
	}
	ids := s.ids()
	e.By, e.Rule, e.Gen = c.Owner, name, c.lock.holder.Gen
	log := entryArgs(e)
	args := []any{name, s.texts[name], before, behind, s.server.runID, len(ids), log[0]}
	for _, id := range ids {
		args = append(args, id)
	}
	args = append(args, log[1:]...)
	done, _, err := c.lock.run(ctx, "target", targetScript, c.client, slices.Concat(
		[]string{keys.Lock(), keys.Phase(), keys.Fleet(), keys.Conns(unburiedID), keys.Audit(), keys.Events()},
		evidenceKeys(keys, name)), args...)
	return done == 1, err
}

// nextMark is above every mark of a rule that the records or an instance know: nobody follows a lower one. That is
// one of this controller's generation, but where the generations were lost as well and an instance that has entered
// itself again since this controller took the lock knows of a later one.
func (c *Controller) nextMark(s *snapshot, rule string) fleet.Mark {
	m := fleet.Mark{Gen: c.lock.holder.Gen, Seq: s.targets[rule].Seq}
	known := []fleet.Mark{s.targets[rule].Mark}
	for i := range s.instances {
		known = append(known, s.instances[i].Rules[rule].Mark)
	}
	for _, k := range known {
		if k.Compare(m) > 0 {
			m = k
		}
	}
	m.Seq++
	return m
}

// put writes a record with its date, which is its last field; 0: now.
func (c *Controller) put(ctx context.Context, write, key string, record any, at int64) error {
	text, err := json.Marshal(record)
	if err != nil {
		return fmt.Errorf("rekey: encode a record: %w", err)
	}
	before, ok := strings.CutSuffix(string(text), "0}")
	if !ok {
		return fmt.Errorf("rekey: encode a record: its date is not its last field")
	}
	_, _, err = c.lock.run(ctx, write, putScript, c.client, []string{c.store.Keys().Lock(), key}, before, "}", at)
	return err
}

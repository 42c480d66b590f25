package fleet

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// shutEngine knows whether its one rule is shut.
type shutEngine struct {
	Engine
	shut atomic.Bool
}

func (e *shutEngine) Shut(reasons []string)              { e.shut.Store(reasons[0] != "") }
func (e *shutEngine) Used(int) (reads, fallbacks uint64) { return 0, 0 }

// A lease that is over when a renewal begins, as after a pause of the whole process, does not last until that
// renewal has failed: a server that hangs lets it fail late.
func TestALeaseEndsBeforeItsRenewalHangs(t *testing.T) {
	link := redistest.SlowLink(t, redistest.Shared(t).Addr())
	p, err := plan.Parse("rekey.yaml", []byte(`
version: 1
environment: test
server: {url: "redis://`+link.Addr()+`"}
fleet: {lease: 3h, renew: 1h, margin: 1h}
rules:
  - {name: sessions, legacy: "session:{id}", target: "cw:{env}:session:{id}"}
`), func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	now, engine := time.Now(), new(shutEngine)
	a, _, err := JoinAgent(t.Context(), AgentConfig{Plan: p, Engine: engine, Name: "web", Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	a.followed[0].Phase, a.reached[0].Phase = phase.Guard, phase.Guard // a rule that is parked needs no lease
	link.Stall(redistest.ToServer)
	now = now.Add(p.Fleet.Lease)
	failed := make(chan error)
	go func() { failed <- a.renew(context.Background()) }()
	redistest.WaitFor(t, 30*time.Second, engine.shut.Load)
	link.Refuse()
	link.Cut()
	if err := <-failed; err == nil {
		t.Error("a renewal over a link that is stalled and cut")
	}
	_ = a.Close(StayRecorded) // cut off from the server
}

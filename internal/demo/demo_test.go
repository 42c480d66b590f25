package demo

import (
	"os"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

func TestMain(m *testing.M) { redistest.Main(m) }

func TestQuick(t *testing.T) {
	s := redistest.Shared(t)
	for _, o := range []Options{{Naive: true}, {Strategy: phase.Mirror}, {Strategy: phase.Relocate}, {URL: plan.URL(s.URL()), Strategy: phase.Mirror}, {URL: plan.URL(s.URL()), Strategy: phase.Relocate}, {Naive: true, URL: plan.URL(s.URL())}} {
		o.Duration = 2 * time.Second
		o.Seed = 1
		r, err := Run(t.Context(), o)
		r.Print(os.Stdout)
		if err != nil {
			t.Error(err)
		}
		for _, v := range r.Violations {
			if !o.Naive {
				t.Error(v)
			}
		}
	}
}

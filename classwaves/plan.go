package classwaves

import (
	_ "embed"

	"github.com/classwaves/rekey/plan"
)

//go:embed rekey.yaml
var planText []byte

// Plan is the migration plan of ClassWaves for one environment, such as production.
func Plan(environment string) (*plan.Plan, error) {
	nothing := func(string) (string, bool) { return "", false } // the plan expands no variables
	return plan.Parse("classwaves/rekey.yaml", planText, nothing, plan.WithEnvironment(environment))
}

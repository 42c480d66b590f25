package rekeyprom_test

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
	"github.com/classwaves/rekey/rekeyprom"
)

func Example() {
	p, err := plan.Parse("rekey.yaml", []byte(testPlan), os.LookupEnv)
	if err != nil {
		panic(err)
	}
	r, err := rekey.Open(context.Background(), p, rekey.WithPhases(map[string]phase.Phase{"sessions": phase.Dual}))
	if err != nil {
		panic(err)
	}
	defer func() { _ = r.Close() }()

	registry := prometheus.NewRegistry()
	registry.MustRegister(rekeyprom.New(r))

	err = testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP rekey_phase The phase of the rule in this process, by number.
# TYPE rekey_phase gauge
rekey_phase{rule="limits",strategy="move"} 1
rekey_phase{rule="sessions",strategy="mirror"} 3
`), "rekey_phase")
	fmt.Println(err)
	// Output: <nil>
}

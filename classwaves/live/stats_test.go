package live

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/classwaves/rekey/internal/redistest"
)

func TestMetricsAreWellFormed(t *testing.T) {
	p := start(t, redistest.Shared(t).Client(), nil).ready(t)
	p.join(t, "one")
	problems, err := testutil.CollectAndLint(p.Hub)
	if err != nil || len(problems) != 0 {
		t.Errorf("got %v, %v", problems, err)
	}
	want := "# HELP classwaves_live_connections Open WebSocket connections.\n# TYPE classwaves_live_connections gauge\nclasswaves_live_connections 1\n"
	if err := testutil.CollectAndCompare(p.Hub, strings.NewReader(want), "classwaves_live_connections"); err != nil {
		t.Error(err)
	}
}

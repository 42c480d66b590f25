//go:build !postgres

package fleettest

import (
	"testing"
	"time"

	"github.com/classwaves/rekey/classwaves/database/databasetest"
	"github.com/classwaves/rekey/internal/redistest"
)

// rolloutTime is how long TestRollout goes up and down by default: once, whatever it takes.
const rolloutTime = time.Second

// stores are a Redis and a database of one test.
type stores struct {
	redis    *redistest.Server
	database string // URL
}

func startStores(t *testing.T, config ...string) stores {
	t.Helper()
	return stores{redistest.Start(t, redistest.WithConfig(config...)), databasetest.SQLite(t)}
}

//go:build postgres

package fleettest

import (
	"testing"
	"time"

	"github.com/classwaves/rekey/classwaves/database/databasetest"
	"github.com/classwaves/rekey/internal/redistest"
)

// rolloutTime is how long TestRollout goes up and down by default: once or twice.
const rolloutTime = 15 * time.Second

// stores are a Redis and a database of one test.
type stores struct {
	redis    *redistest.Server
	postgres *databasetest.Server
	database string // URL
}

func startStores(t *testing.T, config ...string) stores {
	t.Helper()
	s := stores{redis: redistest.Start(t, redistest.WithConfig(config...)), postgres: databasetest.StartPostgres(t)}
	s.database = s.postgres.URL(t)
	return s
}

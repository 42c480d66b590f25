package database_test

import (
	"testing"

	"github.com/classwaves/rekey/classwaves/database"
	"github.com/classwaves/rekey/classwaves/database/databasetest"
	"github.com/classwaves/rekey/classwaves/session/sessiontest"
)

func TestSessions(t *testing.T) {
	sessiontest.Run(t, func(t *testing.T, test func(*testing.T, sessiontest.Store)) {
		databasetest.Each(t, func(t *testing.T, db *database.DB) { test(t, db) })
	})
}

package database_test

import (
	"testing"

	"github.com/classwaves/rekey/classwaves/database"
	"github.com/classwaves/rekey/classwaves/database/databasetest"
)

func TestOpen(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, db *database.DB) {
		if err := db.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

//go:build !postgres

package databasetest

import "testing"

func kinds() []kind {
	return []kind{{"sqlite", func(t *testing.T) string { return SQLite(t) }}}
}

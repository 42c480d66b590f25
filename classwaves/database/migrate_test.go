package database_test

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/classwaves/rekey/classwaves/database"
	"github.com/classwaves/rekey/classwaves/database/databasetest"
)

// schema is all that a database has: tables, columns, indices, constraints.
func schema(t *testing.T, db *database.DB) []string {
	t.Helper()
	statement := `
		SELECT concat_ws(' ', 'column', table_name, column_name, data_type, is_nullable, column_default) FROM information_schema.columns WHERE table_schema = 'public'
		UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
		UNION ALL SELECT concat_ws(' ', conrelid::regclass::text, conname, pg_get_constraintdef(oid)) FROM pg_constraint WHERE connamespace = 'public'::regnamespace
		ORDER BY 1`
	if db.SQLite() {
		statement = "SELECT type || ' ' || name || ' ' || COALESCE(sql, '') FROM sqlite_schema ORDER BY 1"
	}
	all, err := db.Strings(t.Context(), statement)
	must(t, err)
	return slices.DeleteFunc(all, func(s string) bool {
		return strings.Contains(s, "goose_db_version") || strings.Contains(s, "sqlite_sequence")
	})
}

func TestMigrationsGoDownAndUpAgain(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, db *database.DB) {
		ctx := t.Context()
		migrations, err := db.Migrations()
		must(t, err)
		full := schema(t, db)
		if len(full) == 0 {
			t.Fatal("the database has no schema")
		}
		withClass(t, db) // down must not stop at what refers to what
		must(t, db.AddGroup(ctx, database.Group{ID: "m", SessionID: "maths", Name: "red"}))
		must(t, db.AddParticipant(ctx, database.Participant{ID: "1", SessionID: "maths", GroupID: "m", Name: "Ann"}))

		// One by one down to nothing, and each of them up again on the way: no migration leaves
		// anything behind, or takes away what another made.
		sources := migrations.ListSources()
		before := make(map[int64][]string) // the schema below a version
		for _, source := range slices.Backward(sources) {
			if _, err := migrations.Down(ctx); err != nil {
				t.Fatalf("down from %s: %v", source.Path, err)
			}
			below := schema(t, db)
			before[source.Version] = below
			if _, err := migrations.ApplyVersion(ctx, source.Version, true); err != nil {
				t.Fatalf("up again %s: %v", source.Path, err)
			}
			if _, err := migrations.Down(ctx); err != nil {
				t.Fatalf("down again from %s: %v", source.Path, err)
			}
			if got := schema(t, db); !slices.Equal(got, below) {
				t.Errorf("%s: down, up and down is not the same:\n%s\nwant\n%s", source.Path, strings.Join(got, "\n"), strings.Join(below, "\n"))
			}
		}
		if rest := before[sources[0].Version]; len(rest) != 0 {
			t.Errorf("after all went down there is still:\n%s", strings.Join(rest, "\n"))
		}
		for _, source := range sources {
			if got := schema(t, db); !slices.Equal(got, before[source.Version]) {
				t.Errorf("below %s, on the way up:\n%s\nwant\n%s", source.Path, strings.Join(got, "\n"), strings.Join(before[source.Version], "\n"))
			}
			if _, err := migrations.UpByOne(ctx); err != nil {
				t.Fatalf("up to %s: %v", source.Path, err)
			}
		}
		if got := schema(t, db); !slices.Equal(got, full) {
			t.Errorf("down and up is not the same:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(full, "\n"))
		}
		withClass(t, db)
	})
}

// Processes of one fleet start at once on a database that has no schema yet.
func TestManyOpenAtOnce(t *testing.T) {
	databasetest.EachURL(t, func(t *testing.T, url string) {
		var all sync.WaitGroup
		start := make(chan struct{})
		for range 8 {
			all.Go(func() {
				<-start
				db, err := database.Open(t.Context(), url)
				if err != nil {
					t.Error(err)
					return
				}
				if _, _, err := db.Teacher(t.Context(), "ada"); err != nil {
					t.Error(err)
				}
				if err := db.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		close(start)
		all.Wait()
	})
}

// What is there stays when a database is opened again, also by a program that is older than its
// schema: a release can be taken back without the database.
func TestOpenAgain(t *testing.T) {
	databasetest.EachURL(t, func(t *testing.T, url string) {
		first := databasetest.Open(t, url)
		withClass(t, first)
		if _, err := first.Exec(t.Context(), "INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, TRUE)"); err != nil {
			t.Fatal(err)
		}
		second := databasetest.Open(t, url)
		if _, found, err := second.ClassSession(t.Context(), "maths"); err != nil || !found {
			t.Errorf("got %v, %v", found, err)
		}
	})
}

func TestCloseTwice(t *testing.T) {
	databasetest.EachURL(t, func(t *testing.T, url string) {
		db, err := database.Open(t.Context(), url)
		must(t, err)
		must(t, db.Close())
		must(t, db.Close())
	})
}

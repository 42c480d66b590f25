//go:build postgres

package databasetest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"net/url"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver pgx
)

// shared is the server of the test binary. Nobody stops it: its keeper does, when the binary ends.
var shared = sync.OnceValues(startServer)

// Postgres is the URL of a new database in the server of this test binary, dropped after the test.
// The user is its owner and no superuser, as in production.
func Postgres(t testing.TB) string {
	t.Helper()
	server, err := shared()
	if err != nil {
		t.Fatalf("PostgreSQL for the tests: %v", err)
	}
	return server.database(t)
}

// Server is a PostgreSQL server of one test, for what would disturb other tests: outages.
type Server struct{ server *server }

// StartPostgres starts a server that ends with the test.
func StartPostgres(t testing.TB) *Server {
	t.Helper()
	s, err := startServer()
	if err != nil {
		t.Fatalf("PostgreSQL for the test: %v", err)
	}
	t.Cleanup(func() {
		if err := s.remove(); err != nil {
			t.Errorf("stop PostgreSQL: %v", err)
		}
	})
	return &Server{s}
}

// URL is that of a new database in the server.
func (s *Server) URL(t testing.TB) string {
	t.Helper()
	return s.server.url("classwaves", s.server.create(t))
}

// Kill ends the server at once, as kill -9 or the loss of its machine does.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	if err := s.server.stop(); err != nil {
		t.Fatalf("kill PostgreSQL: %v", err)
	}
}

// Restart starts the server again after Kill; what was committed is there.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	if err := s.server.run(); err != nil {
		t.Fatalf("restart PostgreSQL: %v", err)
	}
}

const statementTimeout = time.Minute // for CREATE and DROP DATABASE, on a busy machine

func (s *server) database(t testing.TB) string {
	t.Helper()
	name := s.create(t)
	t.Cleanup(func() {
		if err := s.do("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			t.Errorf("drop the test's database: %v", err)
		}
	})
	return s.url("classwaves", name)
}

func (s *server) create(t testing.TB) (name string) {
	t.Helper()
	name = fmt.Sprintf("test_%x", randomBytes())
	if err := s.do("CREATE DATABASE " + name + " OWNER classwaves"); err != nil {
		t.Fatalf("create the test's database: %v", err)
	}
	return name
}

// do runs a statement as the superuser.
func (s *server) do(statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), statementTimeout) // clean-up runs after the test's context has ended
	defer cancel()
	db, err := sql.Open("pgx", s.url("postgres", "postgres"))
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.ExecContext(ctx, statement)
	return err
}

func (s *server) url(user, database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(user, s.password), Path: "/" + database,
		RawQuery: url.Values{"host": {s.dir}}.Encode(),
	}
	return u.String()
}

func randomBytes() []byte {
	b := make([]byte, 12)
	rand.Read(b) // never fails
	return b
}

package session_test

import (
	"testing"

	"github.com/classwaves/rekey/classwaves/session"
	"github.com/classwaves/rekey/classwaves/session/sessiontest"
)

func TestMemory(t *testing.T) {
	sessiontest.Run(t, func(t *testing.T, test func(*testing.T, sessiontest.Store)) { test(t, session.NewMemory()) })
}

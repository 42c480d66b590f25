package intercept_test

import (
	"strings"
	"testing"

	"github.com/classwaves/rekey/internal/redistest"
)

// TestErrorsNameWhatTheClientWrote: a server that does not know a command quotes the first 128 bytes of its words. They
// are the client's, whatever name the phase has put in their place.
func TestErrorsNameWhatTheClientWrote(t *testing.T) {
	server := redistest.Start(t, redistest.WithConfig(`rename-command GETRANGE ""`, `rename-command MSET ""`))
	bare := server.Conn()
	for _, p := range allPhases {
		rules := testRules(t)
		setPhases(rules, p, p)
		client := redistest.NewConn(t, dial(t, server, rules))
		for _, words := range [][]string{
			{"GETRANGE", "a:1", "0", "-1"},
			{"GETRANGE", "cw:test:a:1", "0", "cw"},
			{"GETRANGE", "a:it's", "0", "-1"},
			{"MSET", "a:1", "v", "b:2", "v"},
			{"MSET", "n:1", "v", "cw:test:b:2", "v"},
		} {
			want := bare.Do(words...)
			if got := client.Do(words...); string(got.Str) != string(want.Str) {
				t.Errorf("%s: %v: got %q, want %q", p, words, got.Str, want.Str)
			}
			client.Do("MULTI")
			if got := client.Do(words...); string(got.Str) != string(want.Str) {
				t.Errorf("%s: %v inside MULTI: got %q, want %q", p, words, got.Str, want.Str)
			}
			client.Do("EXEC")
		}
		for name, other := range map[string]string{"a:" + strings.Repeat("x", 150): "cw:", "cw:test:a:" + strings.Repeat("x", 150): "'a:"} {
			got := string(client.Do("GETRANGE", name, "0", "-1").Str)
			if _, quoted, _ := strings.Cut(got, "beginning with"); !strings.Contains(quoted, name[:100]) || strings.Contains(quoted, other) {
				t.Errorf("%s: %s: got %q", p, name, got)
			}
		}
	}
}

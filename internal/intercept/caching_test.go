package intercept_test

import (
	"slices"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/intercept"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

// TestClientCaching: CLIENT CACHING speaks of the command behind it. What rekey asks the server in between must not take
// its place: the client would keep a value of whose change it is never told.
func TestClientCaching(t *testing.T) {
	server := redistest.Shared(t)
	writer := server.Conn()
	for _, c := range []struct {
		name          string
		before, after phase.Phase // of the connection's first commands, and from CLIENT CACHING on
		caching       [][]string
	}{
		{"nothing is asked", phase.Dual, phase.Dual, [][]string{{"CLIENT", "CACHING", "YES"}}},
		{"all is asked, as the rule has left its park", phase.Legacy, phase.Dual, [][]string{{"CLIENT", "CACHING", "YES"}}},
		{"other words about the client", phase.Legacy, phase.Dual, [][]string{{"CLIENT", "CACHING", "YES"}, {"CLIENT", "ID"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			writer.Do("FLUSHALL")
			rules := testRules(t)
			setPhases(rules, c.before, c.before)
			client := redistest.NewConn(t, dial(t, server, rules))
			client.Do("HELLO", "3")
			if v := client.Do("CLIENT", "TRACKING", "ON", "OPTIN"); string(v.Str) != "OK" {
				t.Fatal(v)
			}
			for _, words := range c.caching {
				if v := client.Do(words...); v.IsError() {
					t.Fatalf("%v: %v", words, v)
				}
			}
			setPhases(rules, c.after, c.after)
			client.Do("GET", "a:1")
			writer.Do("SET", "a:1", "v")
			writer.Do("SET", "cw:test:a:1", "v")
			client.Send("PING")
			v := client.Read()
			if v.Type != '>' || !slices.Contains(texts(v.Elems[1]), "a:1") {
				t.Errorf("got %c %v, want to be told of the change", v.Type, texts(v))
			}
		})
	}
}

// TestClientCachingAndAnUnknownCommand: the server is asked what the command does, and which keys it has.
func TestClientCachingAndAnUnknownCommand(t *testing.T) {
	const movable = "*1\r\n*6\r\n$6\r\nx.call\r\n:-2\r\n*2\r\n+readonly\r\n+movablekeys\r\n:0\r\n:0\r\n:0\r\n"
	rules := testRules(t)
	setPhases(rules, phase.Prefixed, phase.Prefixed)
	server := &scripted{t: t, s: intercept.NewSession(rules, time.Now), info: movable, keys: "*1\r\n$3\r\na:1\r\n"}
	server.client("CLIENT CACHING NO", "+OK\r\n")
	server.client("X.CALL a:1", "+OK\r\n")
	server.client("X.CALL a:1", "+OK\r\n")
	want := []string{
		"CLIENT CACHING NO", "COMMAND INFO x.call", "CLIENT CACHING NO", "COMMAND GETKEYS X.CALL a:1", "CLIENT CACHING NO", "X.CALL cw:test:a:1",
		"COMMAND GETKEYS X.CALL a:1", "X.CALL cw:test:a:1",
	}
	if got := server.sent[max(0, len(server.sent)-len(want)):]; !slices.Equal(got, want) || server.toClient != "+OK\r\n" {
		t.Errorf("sent %q and answered %q, want %q", got, server.toClient, want)
	}
}

package intercept_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/intercept"
	"github.com/classwaves/rekey/phase"
)

// FuzzSession lets both peers be hostile: whatever the client and the server send, in
// whatever pieces and phases, the session answers with errors. It never panics, and it
// does not go on after it has failed.
//
// The input is a program: each step is a byte that says who speaks, or that time or the
// phases move on, a byte with a length, and that many bytes.
func FuzzSession(f *testing.F) {
	client := func(text string) []byte { return append([]byte{0, byte(len(text))}, text...) }
	server := func(text string) []byte { return append([]byte{1, byte(len(text))}, text...) }
	phases := func(a, b phase.Phase) []byte { return []byte{2, 2, byte(a), byte(b)} }
	seed := func(steps ...[]byte) { f.Add(bytes.Join(steps, nil)) }
	learned := server(":1\r\n$27\r\nredis_version:7.0.15\r\nx:yz\r\n+OK\r\n*0\r\n")

	seed(client("GET a:1\r\n"), server("$1\r\nx\r\n"))
	seed(phases(phase.Dual, phase.Dual), client("GET a:1\r\n"), learned, server("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n$1\r\nx\r\n"))
	seed(phases(phase.Dual, phase.Guard), client("MSET a:1 1 b:1 2\r\n"), learned, server("+OK\r\n-OOM x\r\n-OOM x\r\n"), server("-EXECABORT\r\n"))
	seed(phases(phase.Move, phase.Hold), client("GET a:1\r\nDEL a:1 b:2\r\n"), learned, server("+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n:0\r\n$-1\r\n$1\r\nx\r\n"))
	seed(client("MULTI\r\nGET a:1\r\n"), phases(phase.Guard, phase.Guard), client("EXEC\r\n"), server("+OK\r\n+QUEUED\r\n*1\r\n$-1\r\n"))
	seed(phases(phase.Dual, phase.Dual), client("WATCH a:1\r\nGET a:1\r\nMULTI\r\nINCR a:1\r\nEXEC\r\n"), learned,
		server(":0\r\n+OK\r\n$1\r\n1\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*4\r\n:0\r\n:0\r\n:2\r\n:2\r\n"))
	seed(client("HELLO 3\r\n"), server("%1\r\n+proto\r\n:3\r\n"), client("CLIENT TRACKING ON\r\n"), server("+OK\r\n"), server(">2\r\n$10\r\ninvalidate\r\n*1\r\n$3\r\na:1\r\n"), phases(phase.Dual, phase.Dual))
	seed(client("SUBSCRIBE c d\r\n"), server("*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n"))
	seed(phases(phase.Dual, phase.Sealed), client("BLPOP a:1 1\r\n"), learned, server(":0\r\n"), []byte{3, 0}, server(":1\r\n"))
	seed(client("CLIENT REPLY OFF\r\nGET a:1\r\nCLIENT REPLY ON\r\n"), server("$-1\r\n"))
	seed(phases(phase.Settled, phase.Legacy), client("SCAN 0 MATCH a:*\r\n"), learned, server("*2\r\n$1\r\n0\r\n*1\r\n$11\r\ncw:test:a:1\r\n"))
	seed(phases(phase.Dual, phase.Dual), client("NOSUCH a:1\r\n"), learned, server("*1\r\n*-1\r\n"))
	seed(client("*1000000000\r\n"), client("$-7\r\n"))
	seed(server("*1000000000\r\n*1000000000\r\n"))

	f.Fuzz(func(t *testing.T, program []byte) {
		rules := testRules(t)
		clock := time.Unix(1000, 0)
		s := intercept.NewSession(rules, func() time.Time { return clock })
		var failed error
		for len(program) >= 2 {
			kind, n := program[0], int(program[1])
			rest := program[2:]
			n = min(n, len(rest))
			data := rest[:n]
			program = rest[n:]
			var err error
			switch kind % 4 {
			case 0:
				err = s.Client(bytes.Clone(data))
			case 1:
				err = s.Server(bytes.Clone(data))
			case 2:
				if n >= 2 {
					setPhases(rules, anyPhase(data[0]), anyPhase(data[1]))
					s.PhasesChanged()
					s.Interrupt()
				}
			case 3:
				clock = clock.Add(time.Duration(n) * time.Millisecond)
				_ = s.Tick() // what it says of the connection, the next call says too
			}
			toServer, toClient := s.Output()
			if failed != nil && (err == nil && kind%4 < 2 || len(toServer) > 0) {
				t.Fatalf("the session went on after %v: %q", failed, toServer)
			}
			// What one step gives out is bounded by what it was given and what waited.
			if len(toServer)+len(toClient) > 1<<20 {
				t.Fatalf("%d bytes out of a step of %d", len(toServer)+len(toClient), n)
			}
			if err != nil {
				failed = err
			}
			s.Oldest()
			s.Wake()
		}
	})
}

func anyPhase(b byte) phase.Phase { return phase.Phase(1 + int(b)%(phase.Count-1)) }

package history

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/anishathalye/porcupine"

	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/internal/resp"
)

func TestMain(m *testing.M) { redistest.Main(m) }

var models = map[string]Model{"register": Register, "counter": Counter, "set": Set, "list": List}

func TestKnownVerdicts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no histories: %v", err)
	}
	seen := make(map[string]bool)
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		t.Run(name, func(t *testing.T) {
			words := strings.SplitN(name, "-", 3)
			model, known := models[words[0]]
			if !known || words[1] != "legal" && words[1] != "illegal" {
				t.Fatalf("no model and verdict in the name %q", name)
			}
			seen[words[0]+" "+words[1]] = true
			got, err := decide(model, readHistory(t, file))
			if err != nil {
				t.Fatal(err)
			}
			if want := words[1] == "legal"; got != want {
				t.Errorf("linearizable: got %v, want %v", got, want)
			}
		})
	}
	for name := range models {
		if !seen[name+" legal"] || !seen[name+" illegal"] {
			t.Errorf("the %s model is not shown both a legal and an illegal history", name)
		}
	}
}

// readHistory reads a file of testdata; its README says how it is written.
func readHistory(t *testing.T, file string) []porcupine.Operation {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var ops []porcupine.Operation
	for i, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		if strings.HasPrefix(line, "#") {
			continue
		}
		op, err := parseOperation(line)
		if err != nil {
			t.Fatalf("%s:%d: %v", file, i+1, err)
		}
		ops = append(ops, op)
	}
	return openUnknown(ops)
}

func parseOperation(line string) (porcupine.Operation, error) {
	left, right, found := strings.Cut(line, " -> ")
	words := strings.Fields(left)
	if !found || len(words) < 5 {
		return porcupine.Operation{}, fmt.Errorf("not an operation: %q", line)
	}
	var numbers [3]int64
	for i := range numbers {
		n, err := strconv.ParseInt(words[i], 10, 64)
		if err != nil {
			return porcupine.Operation{}, err
		}
		numbers[i] = n
	}
	return porcupine.Operation{
		ClientId: int(numbers[0]), Call: numbers[1], Return: numbers[2],
		Input:  Op{Name: words[3], Key: words[4], Args: words[5:]},
		Output: parseReply(right),
	}, nil
}

func parseReply(s string) Reply {
	n, err := strconv.ParseInt(s, 10, 64)
	switch {
	case s == "?":
		return Reply{Unknown: true}
	case s == "nil":
		return Reply{Null: true}
	case strings.HasPrefix(s, "["):
		return Reply{List: strings.Fields(strings.Trim(s, "[]"))}
	case err == nil:
		return Reply{Int: n, Str: s}
	default:
		return Reply{Str: s}
	}
}

// The real server's histories are linearizable under every model, and the models know its replies:
// eight connections, each operation of each model, on few keys.
func TestRealServerIsLinearizable(t *testing.T) {
	for name, program := range map[string][]string{
		"register": {"GET k", "SET k %d", "SETNX k %d", "GETSET k %d", "GETDEL k", "DEL k", "EXISTS k"},
		"counter":  {"INCR k", "INCRBY k 7", "DECR k", "GET k", "DEL k"},
		"set":      {"SADD k %d x", "SREM k x", "SCARD k", "SISMEMBER k x", "SMEMBERS k", "SPOP k", "DEL k"},
		"list":     {"LPUSH k %d x", "RPUSH k %d", "LPOP k", "RPOP k", "LLEN k", "LRANGE k 0 -1", "DEL k"},
	} {
		t.Run(name, func(t *testing.T) {
			s := redistest.Shared(t)
			rec := NewRecorder(0)
			var clients sync.WaitGroup
			for i := range 8 {
				client, conn := rec.Client(), s.Conn()
				clients.Go(func() {
					for n := range 100 {
						text := program[(n*(i+3)+i)%len(program)]
						if strings.Contains(text, "%d") {
							text = fmt.Sprintf(text, i*1000+n)
						}
						words := strings.Fields(text)
						_, _ = client.Do(Op{Name: words[0], Key: words[1], Args: words[2:]}, func() (Reply, error) {
							return replyOf(conn.Do(words...)), nil
						})
					}
				})
			}
			clients.Wait()
			if got := len(rec.Operations()); got != 800 {
				t.Fatalf("got %d operations, want 800", got)
			}
			Check(t, models[name], rec)
		})
	}
}

func replyOf(v resp.Value) Reply {
	reply := Reply{Null: v.Null, Str: string(v.Str), Int: v.Int}
	for _, e := range v.Elems {
		reply.List = append(reply.List, string(e.Str))
	}
	return reply
}

func TestDoRecordsOutcomes(t *testing.T) {
	rec := NewRecorder(0)
	client := rec.Client()
	for _, err := range []error{nil, errors.New("connection reset"), fmt.Errorf("refused: %w", ErrNotRun), nil} {
		_, got := client.Do(Op{Name: "SET", Key: "k", Args: []string{"v"}}, func() (Reply, error) { return Reply{Str: "OK"}, err })
		if got != err {
			t.Errorf("Do: got %v, want %v", got, err)
		}
	}
	ops := rec.Operations()
	if len(ops) != 3 {
		t.Fatalf("got %d operations, want 3: what was not run is no operation", len(ops))
	}
	unknown, last := ops[1], ops[2]
	if !unknown.Output.(Reply).Unknown || unknown.Return <= last.Return || unknown.ClientId == last.ClientId {
		t.Errorf("an unknown outcome: got %+v, want one that is open to the end, of a client of its own", unknown)
	}
	if last.Output.(Reply).Unknown || last.Call > last.Return || last.Call < ops[0].Return {
		t.Errorf("the last operation: got %+v after %+v", last, ops[0])
	}
}

func TestCheckFailsWithADrawingAndTheSeed(t *testing.T) {
	rec := NewRecorder(4711)
	client := rec.Client()
	for _, op := range []struct{ name, reply string }{{"SET", "OK"}, {"GET", "stale"}} {
		_, _ = client.Do(Op{Name: op.name, Key: "k", Args: []string{"fresh"}}, func() (Reply, error) { return Reply{Str: op.reply}, nil })
	}
	message := failure(t, func(t testing.TB) { Check(t, Register, rec) })
	if !strings.Contains(message, "not linearizable") || !strings.Contains(message, "4711") {
		t.Fatalf("Check says %q, want the verdict and the seed", message)
	}
	_, path, _ := strings.Cut(message, "see ")
	drawing, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(drawing), "stale") {
		t.Errorf("no drawing of the history in %q: %v", path, err)
	}
	if err := os.RemoveAll(filepath.Dir(path)); err != nil {
		t.Error(err)
	}
	if ok, err := Linearizable(Register, rec); ok || err != nil {
		t.Errorf("Linearizable: got %v, %v, want false", ok, err)
	}
}

func TestCheckFailsOnAnEmptyHistory(t *testing.T) {
	if failure(t, func(t testing.TB) { Check(t, Register, NewRecorder(1)) }) == "" {
		t.Error("a history without operations passes")
	}
}

func TestModelsRefuseWhatTheyDoNotKnow(t *testing.T) {
	for name, model := range models {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("an unknown operation passes")
				}
			}()
			model.step(nil, Op{Name: "NOSUCH"}, Reply{})
		})
	}
}

// failure runs f with a stand-in for its test and gives the message with which f failed it.
func failure(t *testing.T, f func(testing.TB)) string {
	double := &testDouble{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(double)
	}()
	<-done
	return double.message
}

type testDouble struct {
	testing.TB
	message string
}

func (d *testDouble) Fatalf(format string, args ...any) {
	d.message = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

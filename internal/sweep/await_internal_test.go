package sweep

import (
	"io"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/plan"
)

// TestAHangingServerIsNotWaitedForLonger than the operator has said: it takes the question and never answers it.
func TestAHangingServerIsNotWaitedForLonger(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	p, err := plan.Parse("rekey.yaml", []byte(`
version: 1
environment: test
rules:
  - {name: things, legacy: "thing:{id}", target: "cw:{env}:thing:{id}", strategy: mirror}
`), func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	server.Pause()
	t.Cleanup(server.Continue)
	r := &run{Options: Options{Client: client, Plan: p, Rule: "things", Kind: Backfill, Patience: time.Second}}
	ended := make(chan error, 1)
	go func() { ended <- r.await(t.Context(), io.EOF) }()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("a server that hangs is ready")
		}
	case <-time.After(answerTimeout / 2): // one answer may take twice that
		t.Error("it waits for as long as an answer may take")
	}
}

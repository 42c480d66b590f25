package history

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// decideWithin bounds the search for one verdict. Histories of a few thousand operations on a
// dozen keys take milliseconds; one that takes this long has too many operations open at a time.
const decideWithin = 30 * time.Second

// Check fails the test when the recorded history is not linearizable, or cannot be decided. It
// then writes a drawing of the history, to be opened in a browser, and prints where it is and the
// recorder's seed.
func Check(t testing.TB, m Model, r *Recorder) {
	t.Helper()
	model, ops := m.porcupine(), r.Operations()
	if len(ops) == 0 {
		t.Fatalf("history: no operations were recorded (seed %d)", r.seed)
	}
	result, info := porcupine.CheckOperationsVerbose(model, ops, decideWithin)
	if result == porcupine.Ok {
		return
	}
	drawing := "no drawing"
	if path, err := draw(t, m, model, info); err != nil {
		drawing = err.Error()
	} else {
		drawing = path
	}
	verdict := "is not linearizable"
	if result == porcupine.Unknown {
		verdict = fmt.Sprintf("could not be decided within %v", decideWithin)
	}
	t.Fatalf("history: %s history of %d operations %s (seed %d); see %s", m, len(ops), verdict, r.seed, drawing)
}

// Linearizable decides a history without a test: for tests that expect a violation. An error says
// that it could not be decided.
func Linearizable(m Model, r *Recorder) (bool, error) {
	return decide(m, r.Operations())
}

func decide(m Model, ops []porcupine.Operation) (bool, error) {
	switch porcupine.CheckOperationsTimeout(m.porcupine(), ops, decideWithin) {
	case porcupine.Ok:
		return true, nil
	case porcupine.Illegal:
		return false, nil
	default:
		return false, fmt.Errorf("history: %s history of %d operations not decided within %v", m, len(ops), decideWithin)
	}
}

// draw writes the drawing where it outlives the test: go test's artifacts where they are kept,
// otherwise a directory of its own. The failure cannot be repeated as it was.
func draw(t testing.TB, m Model, model porcupine.Model, info porcupine.LinearizationInfo) (string, error) {
	dir, err := t.ArtifactDir(), error(nil)
	if kept := flag.Lookup("test.artifacts"); kept == nil || kept.Value.String() != "true" {
		if dir, err = os.MkdirTemp("", "rekey-history-"); err != nil {
			return "", fmt.Errorf("make a directory for the drawing: %w", err)
		}
	}
	path := filepath.Join(dir, m.name+".html")
	if err := porcupine.VisualizePath(model, info, path); err != nil {
		return "", fmt.Errorf("draw the history: %w", err)
	}
	return path, nil
}

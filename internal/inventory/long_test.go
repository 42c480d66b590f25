//go:build long

package inventory_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/inventory"
	"github.com/classwaves/rekey/internal/redistest"
)

// A million keys, a tenth of them of names that nobody would write, in less than 64 MiB.
func TestMillionKeys(t *testing.T) {
	s := redistest.Start(t)
	c := s.Client()
	const keys = 1_000_000
	fill(t, c, keys)
	var most uint64
	pages := 0
	began := time.Now()
	r := take(t, c, func(o *inventory.Options) {
		o.OnProgress = func(inventory.Progress) {
			if pages++; pages%50 == 0 {
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				most = max(most, m.Sys-m.HeapReleased)
			}
		}
	})
	t.Logf("%d names in %v, %.0f a second, %d shapes, %.1f MiB of memory", r.Looked, time.Since(began).Round(time.Millisecond),
		float64(r.Looked)/time.Since(began).Seconds(), len(r.Shapes), float64(most)/(1<<20))
	for _, s := range r.Shapes {
		t.Logf("%8d %s", s.Keys, s.Template)
	}
	if most > 64<<20 {
		t.Errorf("%d bytes of memory", most)
	}
	if r.Looked < keys*99/100 { // two numbers may make one name
		t.Errorf("%d names", r.Looked)
	}
}

package inventory_test

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/inventory"
	"github.com/classwaves/rekey/internal/redistest"
)

// Times to live are counted between borders, and those of shapes that turn out to be one are added.
func TestLives(t *testing.T) {
	c := redistest.Shared(t).Client()
	for i := range 300 {
		for life, keys := range map[time.Duration]int{0: 1, 40 * time.Second: 1, 50 * time.Minute: 2, 20 * time.Hour: 1, 90 * 24 * time.Hour: 1} {
			for n := range keys {
				if err := c.Set(t.Context(), fmt.Sprintf("session:%d:%v-%d", i, life.Seconds(), n), "v", life).Err(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	got := make(map[int64]int64)
	var none int64
	for _, s := range take(t, c).Shapes {
		none += s.Forever
		for _, l := range s.Lives {
			got[l.UpTo] += l.Keys
		}
		if l := s.Lives; len(l) > 0 && s.TTL == nil {
			t.Errorf("%s: %v, and no keys with a time to live", s.Template, l)
		}
	}
	want := map[int64]int64{60: 300, 3600: 600, 86400: 300, 0: 300}
	if !reflect.DeepEqual(got, want) || none != 300 {
		t.Errorf("got %v and %d without, want %v and 300; the borders are %v", got, none, want, inventory.Lives)
	}
}

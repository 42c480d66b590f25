package inventory_test

import (
	"fmt"
	"math"
	"reflect"
	"strings"
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

// TestLivesBeyondADuration: a server takes expiry times of far more than the 292 years that a duration holds, and 9999999999
// seconds is what some write for never.
func TestLivesBeyondADuration(t *testing.T) {
	c := redistest.Shared(t).Client()
	for _, words := range [][]any{
		{"SET", "old:1", "v", "EX", 9_999_999_999}, {"SET", "old:2", "v", "PXAT", int64(math.MaxInt64)},
	} {
		if err := c.Do(t.Context(), words...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	report := take(t, c)
	var got []inventory.Life
	for _, s := range report.Shapes {
		got = append(got, s.Lives...)
	}
	if want := []inventory.Life{{Keys: 2}}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v: longer than all borders", got, want)
	}
	text, err := report.Plan(inventory.Emission{Environment: "prod", Databases: []int{0}})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "TTL -") {
		t.Errorf("the plan has a time to live below 0:\n%s", text)
	}
}

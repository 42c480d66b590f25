package proxy

import "testing"

func TestAffordableClients(t *testing.T) {
	for _, tt := range []struct {
		wanted      int
		descriptors uint64
		want        int
	}{
		{10_000, 1 << 20, 10_000},
		{10_000, 20_128, 10_000},
		{10_000, 20_126, 9_999},
		{10_000, 1024, 448},
		{10_000, 100, 1},
		{10_000, 0, 1},
		{5, ^uint64(0), 5},
	} {
		if got := affordable(tt.wanted, tt.descriptors); got != tt.want {
			t.Errorf("%d clients with %d descriptors: %d, want %d", tt.wanted, tt.descriptors, got, tt.want)
		}
	}
	if descriptors() < ownDescriptors {
		t.Errorf("this process may have %d descriptors", descriptors())
	}
}

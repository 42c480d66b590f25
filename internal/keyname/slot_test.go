package keyname

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"
)

// The slots are what CLUSTER KEYSLOT answers.
func TestSlot(t *testing.T) {
	for _, c := range []struct {
		name, tag string
		slot      uint16
	}{
		{"123456789", "123456789", 12739},
		{"foo", "foo", 12182},
		{"bar", "bar", 5061},
		{"", "", 0},
		{"{user1000}.following", "user1000", 3443},
		{"{user1000}.followers", "user1000", 3443},
		{"foo{}{bar}", "foo{}{bar}", 8363},
		{"foo{{bar}}zap", "{bar", 4015},
		{"foo{bar}{zap}", "bar", 5061},
		{"foo{bar", "foo{bar", 15278},
		{"a}b{foo}", "foo", 12182},
	} {
		if got := string(HashTag([]byte(c.name))); got != c.tag {
			t.Errorf("HashTag(%q): got %q, want %q", c.name, got, c.tag)
		}
		if got := Slot([]byte(c.name)); got != c.slot {
			t.Errorf("Slot(%q): got %d, want %d", c.name, got, c.slot)
		}
	}
}

func TestSlotTags(t *testing.T) {
	if got, want := len(slotTags), Slots*slotTagLen; got != want {
		t.Fatalf("the table has %d bytes, want %d", got, want)
	}
	for slot := range uint16(Slots) {
		if got := Slot([]byte(slotTag(slot))); got != slot {
			t.Fatalf("tag %q stands for slot %d and hashes to %d", slotTag(slot), slot, got)
		}
	}
	// Names in production are made with this table: another one, however right, would lose them.
	sum := sha256.Sum256([]byte(slotTags))
	if got, want := hex.EncodeToString(sum[:8]), "b4f19a45c23b8193"; got != want {
		t.Errorf("the table has changed: got %s, want %s", got, want)
	}
}

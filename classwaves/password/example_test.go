package password_test

import (
	"context"
	"fmt"

	"github.com/classwaves/rekey/classwaves/password"
)

func Example() {
	ctx := context.Background()
	h, err := password.New(password.Config{})
	if err != nil {
		panic(err)
	}
	hash, err := h.Hash(ctx, "correct horse battery staple") // store this
	if err != nil {
		panic(err)
	}
	right, _ := h.Check(ctx, hash, "correct horse battery staple")
	wrong, _ := h.Check(ctx, hash, "Tr0ub4dor&3")
	nobody, _ := h.Check(ctx, h.Dummy(), "whatever was typed for an unknown user")
	fmt.Println(right, wrong, nobody, h.NeedsRehash(hash))
	// Output: true false false false
}

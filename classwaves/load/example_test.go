package load_test

import (
	"context"
	"fmt"
	"time"

	"github.com/classwaves/rekey/classwaves/app"
	"github.com/classwaves/rekey/classwaves/load"
)

// A load on a server with everything embedded.
func Example() {
	ctx := context.Background()
	server, err := app.Start(ctx, app.Config{Environment: "example", Listen: "127.0.0.1:0"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	const password = "correct horse battery"
	for i := range 2 {
		if err := server.AddTeacher(ctx, fmt.Sprintf("load-%d@example.org", i+1), "A. Teacher", password); err != nil {
			fmt.Println(err)
			return
		}
	}
	g, err := load.New(load.Config{
		URL: server.URL(), Email: "load-%d@example.org", Password: password,
		Teachers: 2, Students: 2, Duration: time.Second, Pause: 20 * time.Millisecond,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	report, err := g.Run(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("operations:", report.Ops > 0)
	fmt.Println("violations:", report.Violated())
	// Output:
	// operations: true
	// violations: 0
}

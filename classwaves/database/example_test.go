package database_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/classwaves/rekey/classwaves/database"
)

func Example() {
	ctx := context.Background()
	db, err := database.Open(ctx, "sqlite::memory:") // or sqlite:/var/lib/classwaves.db, or postgres://...
	if err != nil {
		panic(err)
	}
	defer db.Close()

	ada := database.Teacher{ID: "t1", Email: "ada@example.org", Name: "Ada", PasswordHash: "see package password"}
	if err := db.CreateTeacher(ctx, ada); err != nil {
		panic(err)
	}
	ada.ID = "t2"
	fmt.Println(errors.Is(db.CreateTeacher(ctx, ada), database.ErrConflict))

	lesson := database.ClassSession{ID: "s1", TeacherID: "t1", Title: "Waves"}
	if err := db.CreateClassSession(ctx, lesson, database.Group{ID: "g1", Name: "red"}); err != nil {
		panic(err)
	}
	for range 2 { // the second start finds it started
		ok, err := db.SetState(ctx, "s1", database.Active, time.Now(), database.Created, database.Paused)
		fmt.Println(ok, err)
	}
	_, found, err := db.ClassSession(ctx, "s2")
	fmt.Println(found, err)
	// Output:
	// true
	// true <nil>
	// false <nil>
	// false <nil>
}

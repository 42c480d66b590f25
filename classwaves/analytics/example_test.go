package analytics_test

import (
	"context"
	"fmt"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/classwaves/analytics"
	"github.com/classwaves/rekey/classwaves/database"
)

// school is a database with one class session that has begun, and its two groups.
func school(ctx context.Context) *database.DB {
	db, err := database.Open(ctx, "sqlite::memory:")
	if err != nil {
		panic(err)
	}
	for _, err := range []error{
		db.CreateTeacher(ctx, database.Teacher{ID: "ada", Email: "ada@example.org", Name: "Ada", PasswordHash: "-"}),
		db.CreateClassSession(ctx, database.ClassSession{ID: "biology", TeacherID: "ada", Title: "Cells"}),
		db.AddGroup(ctx, database.Group{ID: "red", SessionID: "biology", Name: "Red"}),
		db.AddGroup(ctx, database.Group{ID: "blue", SessionID: "biology", Name: "Blue"}),
	} {
		if err != nil {
			panic(err)
		}
	}
	if ok, err := db.SetState(ctx, "biology", database.Active, time.Now(), database.Created); err != nil || !ok {
		panic("the session did not begin")
	}
	return db
}

func Example() {
	ctx := context.Background()
	server := miniredis.NewMiniRedis()
	if err := server.Start(); err != nil {
		panic(err)
	}
	defer server.Close()
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr(), ContextTimeoutEnabled: true})
	defer func() { _ = rdb.Close() }()
	db := school(ctx)
	defer func() { _ = db.Close() }()

	a, err := analytics.New(analytics.Config{Redis: rdb, Source: db})
	if err != nil {
		panic(err)
	}
	for _, e := range []analytics.Event{
		{Kind: analytics.ParticipantJoined, GroupID: "red"},
		{Kind: analytics.ParticipantJoined, GroupID: "red"},
		{Kind: analytics.ParticipantJoined, GroupID: "blue"},
		{Kind: analytics.GroupReady, GroupID: "blue"},
		{Kind: analytics.Engagement, GroupID: "red", Score: 60},
		{Kind: analytics.Engagement, GroupID: "blue", Score: 85},
		{Kind: analytics.AlertRaised, GroupID: "red"},
	} {
		if _, err := a.Apply(ctx, "biology", e); err != nil {
			panic(err)
		}
	}
	m, found, err := a.Session(ctx, "biology")
	fmt.Println(found, err)
	fmt.Println(m.ActiveGroups, "groups,", m.ReadyGroups, "ready,", m.Participants, "participants, engagement", m.AverageEngagement)
	red, _, _ := a.Group(ctx, "red")
	fmt.Println("red:", red.Participants, "participants, engagement", red.AverageEngagement, "alerts", red.ActiveAlerts)

	report, err := a.Sync(ctx) // Run does it every five minutes
	fmt.Println(report.Written, "written,", len(report.Missed), "missed", err)

	server.Close() // and the database answers
	d, err := a.Dashboard(ctx, "ada")
	fmt.Println(d.LiveSessions, "live session with", d.Participants, "participants", err)
	// Output:
	// true <nil>
	// 2 groups, 1 ready, 3 participants, engagement 72.5
	// red: 2 participants, engagement 60 alerts 1
	// 1 written, 0 missed <nil>
	// 1 live session with 3 participants <nil>
}

//go:build browser

package web_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/classwaves/rekey/classwaves/app"
	"github.com/classwaves/rekey/internal/redistest"
)

func TestMain(m *testing.M) { redistest.Main(m) }

// patience bounds what a page may take; every wait polls.
const patience = time.Minute

// browser starts a headless Chromium. As root it wants no sandbox, and without a network no updates.
func browser(t *testing.T) context.Context {
	t.Helper()
	allocator, cancel := chromedp.NewExecAllocator(t.Context(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.UserDataDir(t.TempDir()), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.WindowSize(1000, 800),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.WSURLReadTimeout(patience),
	)...)
	t.Cleanup(cancel)
	return allocator
}

// window opens a window with cookies of its own.
func window(t *testing.T, in context.Context, opts ...chromedp.ContextOption) context.Context {
	t.Helper()
	ctx, cancel := chromedp.NewContext(in, opts...)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil { // the browser lives as long as this context
		t.Fatal(err)
	}
	return ctx
}

// run does what a person would, within patience.
func run(t *testing.T, ctx context.Context, what string, actions ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := chromedp.Do(bounded, actions...); err != nil {
		page, _ := chromedp.Run(ctx, chromedp.InnerHTML(chromedp.CSS("body"))) // to say what was there instead
		t.Fatalf("%s: %v\n%s", what, err, page)
	}
}

// text reads what an element shows.
func text(t *testing.T, ctx context.Context, id string) string {
	t.Helper()
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	s, err := chromedp.Run(bounded, chromedp.Text(chromedp.CSS("#"+id)))
	if err != nil {
		t.Fatalf("read %s: %v", id, err)
	}
	return strings.TrimSpace(s)
}

// shows waits until an element shows a text.
func shows(id, text string) chromedp.Action[chromedp.Void] {
	return chromedp.Poll[chromedp.Void](`document.getElementById("`+id+`").textContent.trim() === "`+text+`"`, chromedp.WithPollingTimeout(patience))
}

// reached waits until the page is another and its scripts have run. A question that the page does not
// live to answer is asked again.
func reached(path string) chromedp.Action[chromedp.Void] {
	where := chromedp.Evaluate[string](`document.readyState === "complete" ? location.pathname : ""`)
	return func(ctx context.Context, target *chromedp.Target) (none chromedp.Void, err error) {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			if at, err := where(ctx, target); err == nil && at == path {
				return none, nil
			}
			select {
			case <-ctx.Done():
				return none, fmt.Errorf("%s was not reached: %w", path, ctx.Err())
			case <-tick.C:
			}
		}
	}
}

// TestThePagesWithoutRedis: a page that was opened while Redis is away shows what the database has, and logs
// out; when Redis is back it changes things without being loaded again.
func TestThePagesWithoutRedis(t *testing.T) {
	server := redistest.Start(t)
	a := start(t, server)
	ctx := window(t, browser(t))
	login(t, ctx, a)
	run(t, ctx, "create a class session",
		chromedp.SendKeys(chromedp.CSS("#new-title"), "Rome"), chromedp.Click(chromedp.CSS("#create button")), shows("live-title", "Rome"))

	server.Kill()
	const away = "not available for now; try again"
	run(t, ctx, "look without Redis", chromedp.Navigate(a.URL()+"/dashboard"), reached("/dashboard"), shows("error", away),
		chromedp.Poll[chromedp.Void](`document.getElementById("sessions").textContent.includes("Rome")`, chromedp.WithPollingTimeout(patience)))
	run(t, ctx, "change something without Redis",
		chromedp.SendKeys(chromedp.CSS("#new-title"), "Athens"), chromedp.Click(chromedp.CSS("#create button")), shows("error", "Service Unavailable"))
	server.Restart()
	redistest.WaitFor(t, patience, func() bool { // the server needs a moment to find it
		run(t, ctx, "change something with Redis", chromedp.Click(chromedp.CSS("#create button")),
			chromedp.Poll[chromedp.Void](`document.getElementById("error").textContent || document.getElementById("new-title").value === ""`, chromedp.WithPollingTimeout(patience)))
		return text(t, ctx, "error") == ""
	})
	run(t, ctx, "see the change", shows("live-title", "Athens"))

	server.Kill()
	run(t, ctx, "log out without Redis",
		chromedp.Navigate(a.URL()+"/dashboard"), reached("/dashboard"), shows("error", away),
		chromedp.Click(chromedp.CSS("#logout")), reached("/login"))
	run(t, ctx, "be logged out", chromedp.Navigate(a.URL()+"/dashboard"), reached("/login"))
}

const password = "correct horse battery"

// start starts a server with one teacher.
func start(t *testing.T, server *redistest.Server) *app.App {
	t.Helper()
	keys, err := app.NewSessionKeys()
	if err != nil {
		t.Fatal(err)
	}
	a, err := app.Start(t.Context(), app.Config{
		Environment: "test", Listen: "127.0.0.1:0", Redis: server.URL(), SessionKeys: keys,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := a.AddTeacher(t.Context(), "ada@example.org", "Ada", password); err != nil {
		t.Fatal(err)
	}
	return a
}

// login logs the teacher in.
func login(t *testing.T, ctx context.Context, a *app.App) {
	t.Helper()
	run(t, ctx, "log in",
		chromedp.Navigate(a.URL()+"/login"), reached("/login"),
		chromedp.SendKeys(chromedp.CSS("#email"), "ada@example.org"), chromedp.SendKeys(chromedp.CSS("#password"), password), chromedp.Click(chromedp.CSS("#login button")),
		reached("/dashboard"), shows("teacher", "Ada"))
}

// TestALessonInABrowser: a teacher logs in and creates a class session, a student joins by its code in
// a second browser, the dashboard moves, and logging out everywhere ends another window's login.
func TestALessonInABrowser(t *testing.T) {
	server := redistest.Start(t)
	a := start(t, server)
	chromium := browser(t)
	teacher := window(t, chromium)
	student := window(t, teacher, chromedp.WithNewBrowserContext())
	elsewhere := window(t, teacher, chromedp.WithNewBrowserContext())

	run(t, teacher, "a wrong password",
		chromedp.Navigate(a.URL()+"/"), reached("/login"),
		chromedp.SendKeys(chromedp.CSS("#email"), "ada@example.org"), chromedp.SendKeys(chromedp.CSS("#password"), "wrong"), chromedp.Click(chromedp.CSS("#login button")),
		shows("error", "email or password is wrong"))
	login(t, teacher, a)
	login(t, elsewhere, a)

	run(t, teacher, "create a class session",
		chromedp.SendKeys(chromedp.CSS("#new-title"), "The <b>Roman</b> Republic"), chromedp.Click(chromedp.CSS("#create button")),
		shows("live-title", "The <b>Roman</b> Republic"),
		chromedp.Click(chromedp.CSS("#start")), shows("live-state", "active"), shows("participants", "0"))
	code := text(t, teacher, "live-code")
	if len(code) != 6 {
		t.Fatalf("the code is %q", code)
	}
	run(t, student, "join",
		chromedp.Navigate(a.URL()+"/join"), reached("/join"),
		chromedp.SendKeys(chromedp.CSS("#code"), strings.ToLower(code)), chromedp.SendKeys(chromedp.CSS("#name"), "Kim"), chromedp.Click(chromedp.CSS("#join button")),
		shows("title", "The <b>Roman</b> Republic"), shows("state", "active"))
	run(t, teacher, "see the student", shows("participants", "1"), shows("activeGroups", "1"))
	// The WebSocket of the student may still be opening: the button is pressed until it is heard.
	press := func(id string) chromedp.Action[chromedp.Void] { return chromedp.Click(chromedp.CSS("#" + id)) }
	run(t, student, "ask for help", press("alert"))
	heard := func() bool {
		alerts := text(t, teacher, "activeAlerts")
		if alerts == "0" {
			run(t, student, "ask for help again", press("alert"))
		}
		return alerts != "0"
	}
	redistest.WaitFor(t, patience, heard)
	run(t, student, "be ready and engaged", press("ready"),
		chromedp.SetValue(chromedp.CSS("#engagement"), "90"), chromedp.Evaluate[chromedp.Void](`document.getElementById("engagement").dispatchEvent(new Event("change"))`))
	run(t, teacher, "see that", shows("readyGroups", "1"), shows("averageEngagement", "90 %"))

	picture, err := chromedp.Run(teacher, chromedp.FullScreenshot(100))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(t.ArtifactDir(), "dashboard.png"), picture, 0o600); err != nil {
		t.Fatal(err)
	}

	run(t, teacher, "pause", chromedp.Click(chromedp.CSS("#pause")), shows("live-state", "paused"))
	run(t, student, "see the pause", shows("state", "paused"))
	run(t, teacher, "log out everywhere", chromedp.Click(chromedp.CSS("#logout-everywhere")), reached("/login"))
	run(t, elsewhere, "be logged out", chromedp.Navigate(a.URL()+"/dashboard"), reached("/login"))
}

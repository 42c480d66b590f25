//go:build browser

package web_test

import (
	"context"
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
	if err := chromedp.Run(ctx); err != nil { // the browser lives as long as this context
		t.Fatal(err)
	}
	return ctx
}

// run does what a person would, within patience.
func run(t *testing.T, ctx context.Context, what string, actions ...chromedp.Action) {
	t.Helper()
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := chromedp.Run(bounded, actions...); err != nil {
		var page string
		_ = chromedp.Run(ctx, chromedp.InnerHTML("body", &page)) // to say what was there instead
		t.Fatalf("%s: %v\n%s", what, err, page)
	}
}

// shows waits until an element shows a text.
func shows(id, text string) chromedp.Action {
	return chromedp.Poll(`document.getElementById("`+id+`").textContent.trim() === "`+text+`"`, nil, chromedp.WithPollingTimeout(patience))
}

// reached waits until the page is another.
func reached(path string) chromedp.Action {
	return chromedp.Poll(`location.pathname === "`+path+`"`, nil, chromedp.WithPollingTimeout(patience))
}

// TestALessonInABrowser: a teacher logs in and creates a class session, a student joins by its code in
// a second browser, the dashboard moves, and logging out everywhere ends another window's login.
func TestALessonInABrowser(t *testing.T) {
	server := redistest.Start(t)
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
	const password = "correct horse battery"
	if err := a.AddTeacher(t.Context(), "ada@example.org", "Ada", password); err != nil {
		t.Fatal(err)
	}

	chromium := browser(t)
	teacher := window(t, chromium)
	student := window(t, teacher, chromedp.WithNewBrowserContext())
	elsewhere := window(t, teacher, chromedp.WithNewBrowserContext())

	run(t, teacher, "a wrong password",
		chromedp.Navigate(a.URL()+"/"), reached("/login"),
		chromedp.SendKeys("#email", "ada@example.org"), chromedp.SendKeys("#password", "wrong"), chromedp.Submit("#login"),
		shows("error", "email or password is wrong"))
	login := func(ctx context.Context) {
		run(t, ctx, "log in",
			chromedp.Navigate(a.URL()+"/login"), chromedp.WaitVisible("#email"),
			chromedp.SendKeys("#email", "ada@example.org"), chromedp.SendKeys("#password", password), chromedp.Submit("#login"),
			reached("/dashboard"), shows("teacher", "Ada"))
	}
	login(teacher)
	login(elsewhere)

	var code string
	run(t, teacher, "create a class session",
		chromedp.SendKeys("#new-title", "The <b>Roman</b> Republic"), chromedp.Submit("#create"),
		shows("live-title", "The <b>Roman</b> Republic"), chromedp.Text("#live-code", &code),
		chromedp.Click("#start"), shows("live-state", "active"), shows("participants", "0"))
	if len(code) != 6 {
		t.Fatalf("the code is %q", code)
	}
	run(t, student, "join",
		chromedp.Navigate(a.URL()+"/join"), chromedp.WaitVisible("#code"),
		chromedp.SendKeys("#code", strings.ToLower(code)), chromedp.SendKeys("#name", "Kim"), chromedp.Submit("#join"),
		shows("title", "The <b>Roman</b> Republic"), shows("state", "active"))
	run(t, teacher, "see the student", shows("participants", "1"), shows("activeGroups", "1"))
	// The WebSocket of the student may still be opening: the button is pressed until it is heard.
	press := func(id string) chromedp.Action { return chromedp.Click("#" + id) }
	run(t, student, "ask for help", press("alert"))
	heard := func() bool {
		var alerts string
		run(t, teacher, "look at the alerts", chromedp.Text("#activeAlerts", &alerts))
		if alerts == "0" {
			run(t, student, "ask for help again", press("alert"))
		}
		return alerts != "0"
	}
	redistest.WaitFor(t, patience, heard)
	run(t, student, "be ready and engaged", press("ready"),
		chromedp.SetValue("#engagement", "90"), chromedp.Evaluate(`document.getElementById("engagement").dispatchEvent(new Event("change"))`, nil))
	run(t, teacher, "see that", shows("readyGroups", "1"), shows("averageEngagement", "90 %"))

	var picture []byte
	run(t, teacher, "take a picture", chromedp.FullScreenshot(&picture, 90))
	if err := os.WriteFile(filepath.Join(t.ArtifactDir(), "dashboard.png"), picture, 0o600); err != nil {
		t.Fatal(err)
	}

	run(t, teacher, "pause", chromedp.Click("#pause"), shows("live-state", "paused"))
	run(t, student, "see the pause", shows("state", "paused"))
	run(t, teacher, "log out everywhere", chromedp.Click("#logout-everywhere"), reached("/login"))
	run(t, elsewhere, "be logged out", chromedp.Navigate(a.URL()+"/dashboard"), reached("/login"))
}

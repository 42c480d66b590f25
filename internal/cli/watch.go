package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/term"
)

// The colours are those of the terminal's own palette, so that they suit its background.
var lineStyles = map[lineKind]lipgloss.Style{
	headLine: lipgloss.NewStyle().Faint(true),
	badLine:  lipgloss.NewStyle().Foreground(lipgloss.Color("1")),
	waitLine: lipgloss.NewStyle().Foreground(lipgloss.Color("3")),
	goodLine: lipgloss.NewStyle().Foreground(lipgloss.Color("2")),
	boldLine: lipgloss.NewStyle().Bold(true),
}

// watchedStatus is the fleet as it was found, or why it could not be.
type watchedStatus struct {
	report *statusReport
	err    error
}

// watchScreen is the terminal program of `rekey status --watch`.
type watchScreen struct {
	now           watchedStatus
	width, height int
	clock         func() time.Time
	heard         time.Time // when the fleet was last read
	look          func() watchedStatus
	every         time.Duration
	ended         bool
}

type lookAgain struct{}

// watch shows the status on a terminal until a key or a signal ends it, and leaves the last one there.
func (a *app) watch(ctx context.Context, every time.Duration, look func() watchedStatus) error {
	options := []tea.ProgramOption{tea.WithContext(ctx), tea.WithOutput(a.stdout), tea.WithInput(nil), tea.WithoutSignalHandler()}
	if in, ok := a.stdin.(*os.File); ok && term.IsTerminal(in.Fd()) {
		options = append(options, tea.WithInput(in))
	}
	s := watchScreen{clock: time.Now, look: look, every: every}
	last, err := tea.NewProgram(s, options...).Run()
	if errors.Is(err, tea.ErrProgramKilled) && ctx.Err() != nil {
		err = nil // a signal is how one ends it
	}
	if err != nil {
		return fmt.Errorf("show the status: %w", err)
	}
	if s, ok := last.(watchScreen); ok && s.now.report != nil {
		a.printLines(statusText(s.now.report, mostInstances))
		return s.now.err
	}
	return nil
}

// Init implements [tea.Model].
func (s watchScreen) Init() tea.Cmd { return s.read }

func (s watchScreen) read() tea.Msg { return s.look() }

// Update implements [tea.Model].
func (s watchScreen) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		s.width, s.height = msg.Width, msg.Height
	case tea.KeyPressMsg:
		switch msg.String() {
		case "q", "esc", "ctrl+c":
			s.ended = true
			return s, tea.Quit
		}
	case watchedStatus:
		s.now.err = msg.err
		if msg.err == nil {
			s.now.report, s.heard = msg.report, s.clock()
		}
		return s, tea.Tick(s.every, func(time.Time) tea.Msg { return lookAgain{} })
	case lookAgain:
		return s, s.read
	}
	return s, nil
}

// View implements [tea.Model].
func (s watchScreen) View() tea.View {
	var v tea.View
	if s.ended {
		return v
	}
	v.AltScreen = true
	v.WindowTitle = "rekey status"
	var out []line
	switch {
	case s.now.report == nil && s.now.err == nil:
		out = []line{{headLine, "reading ..."}}
	case s.now.report != nil:
		out = statusText(s.now.report, s.room())
	}
	if s.now.err != nil {
		for i, text := range strings.Split(strings.TrimPrefix(s.now.err.Error(), "rekey: "), "\n") {
			if i == 0 && s.now.report != nil {
				text = fmt.Sprintf("%s; the screen is %s old", text, spanText(s.clock().Sub(s.heard)))
			}
			out = append(out, line{badLine, text})
		}
	}
	foot := line{headLine, "q ends"}
	if s.height > 1 && len(out) > s.height-1 {
		out = out[:s.height-1]
		foot.text += "; the screen is too small for all of it"
	}
	v.Content = paint(append(out, foot), s.width)
	return v
}

// room is how many instances fit beside the rest of the screen; 0: all.
func (s watchScreen) room() int {
	if s.height == 0 || s.now.report == nil {
		return 0
	}
	rest := len(statusText(s.now.report, 1)) + 1
	return max(1, s.height-rest)
}

// paint colours the lines and cuts them at the width of the terminal; 0: none.
func paint(lines []line, width int) string {
	var b strings.Builder
	for i, l := range lines {
		if i > 0 {
			b.WriteByte('\n')
		}
		text := l.text
		if runes := []rune(text); width > 1 && len(runes) > width {
			text = string(runes[:width-1]) + "…"
		}
		b.WriteString(lineStyles[l.kind].Render(text))
	}
	return b.String()
}

// printLines prints a screen, in colour where somebody may be looking.
func (a *app) printLines(lines []line) {
	if a.canDraw(a.stdout) && !noColor(a.lookup) {
		a.printf("%s\n", paint(lines, 0))
		return
	}
	writeLines(told{a}, lines)
}

func writeLines(w io.Writer, lines []line) {
	for _, l := range lines {
		_, _ = fmt.Fprintln(w, l.text) // as printf
	}
}

// noColor is the wish that https://no-color.org describes.
func noColor(lookup func(string) (string, bool)) bool {
	text, _ := lookup("NO_COLOR")
	return text != ""
}

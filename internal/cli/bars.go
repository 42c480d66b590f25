package cli

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	bar "charm.land/bubbles/v2/progress"
	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
)

const (
	// barsEvery is how often the bars move.
	barsEvery = 100 * time.Millisecond
	barWidth  = 40
)

// bars shows one sweep on a terminal: all of it, and the database that is walked.
type bars struct {
	program *tea.Program
	ended   sync.WaitGroup
}

func newBars(w io.Writer, plain bool) *bars {
	b := &bars{program: tea.NewProgram(newBarScreen(plain), tea.WithOutput(w), tea.WithInput(nil), tea.WithoutSignalHandler())}
	b.ended.Go(func() { _, _ = b.program.Run() }) // what it shows is told again by the result
	return b
}

func (b *bars) show(r reading) { b.program.Send(r) }

func (b *bars) close() {
	b.program.Quit()
	b.ended.Wait()
}

// barScreen is what is shown.
type barScreen struct {
	now   reading
	width int
	bar   bar.Model
}

func newBarScreen(plain bool) barScreen {
	color := lipgloss.Color("6")
	options := []bar.Option{bar.WithWidth(barWidth), bar.WithoutPercentage()}
	if !plain {
		options = append(options, bar.WithColors(color))
	}
	return barScreen{bar: bar.New(options...)}
}

// Init implements [tea.Model].
func (s barScreen) Init() tea.Cmd { return nil }

// Update implements [tea.Model].
func (s barScreen) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		s.width = msg.Width
	case reading:
		s.now = msg
	}
	return s, nil
}

// View implements [tea.Model].
func (s barScreen) View() tea.View {
	var v tea.View
	r := s.now
	if r.Passes == 0 {
		if r.Reason != "" { // it has not come to a page yet
			v.Content = fmt.Sprintf("%v %s\n  %s\n", r.Kind, r.Rule, r.Reason)
		}
		return v
	}
	left := ""
	if r.Left > 0 {
		left = fmt.Sprintf("  %v left", r.Left)
	}
	lines := []string{
		fmt.Sprintf("%v %s", r.Kind, r.Rule),
		fmt.Sprintf("  %s %3.0f %%%s", s.bar.ViewAs(r.Done), 100*r.Done, left),
	}
	if r.Passes > 1 {
		part := 1.0
		if r.Keys > 0 {
			part = min(1, float64(r.Visited)/float64(r.Keys))
		}
		lines = append(lines, fmt.Sprintf("  %s %3.0f %%  database %d, pass %d of %d", s.bar.ViewAs(part), 100*part, r.Database, r.Pass, r.Passes))
	}
	lines = append(lines, fmt.Sprintf("  %d keys, %.0f/s, %d changed, %d problems", r.Matched, r.Rate, r.Changed, r.Problems))
	if r.Reason != "" {
		lines = append(lines, "  held back: "+r.Reason)
	}
	v.Content = strings.Join(lines, "\n") + "\n"
	return v
}

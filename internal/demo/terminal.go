package demo

import (
	"fmt"
	"io"
	"strings"
	"sync"

	"charm.land/bubbles/v2/progress"
	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
)

// Terminal shows the demo live: where each instance is, what the sweeps do, what was counted.
type Terminal struct {
	program *tea.Program
	ended   sync.WaitGroup
	err     error
}

// NewTerminal starts the display on a terminal. It takes no keys, so that Ctrl-C stays the signal
// that the process handles. The caller closes it before anything else is printed.
func NewTerminal(w io.Writer) *Terminal {
	t := &Terminal{program: tea.NewProgram(newScreen(), tea.WithOutput(w), tea.WithInput(nil), tea.WithoutSignalHandler())}
	t.ended.Go(func() { _, t.err = t.program.Run() })
	return t
}

// Close ends the display, whose last state stays on the terminal.
func (t *Terminal) Close() error {
	t.program.Quit()
	t.ended.Wait()
	return t.err
}

// Started implements [Observer].
func (t *Terminal) Started(s Setup) { t.program.Send(s) }

// Stepped implements [Observer].
func (t *Terminal) Stepped(s Step) { t.program.Send(s) }

// Swept implements [Observer].
func (t *Terminal) Swept(s Sweep) { t.program.Send(s) }

// Checked implements [Observer].
func (t *Terminal) Checked(c Check) { t.program.Send(c) }

// Ticked implements [Observer].
func (t *Terminal) Ticked(tick Tick) { t.program.Send(tick) }

var _ Observer = (*Terminal)(nil)

// screen is what is shown: the messages of the observer, drawn.
type screen struct {
	setup Setup
	at    []int // the stage of each instance
	sweep Sweep
	done  []string // the last sweeps and checks
	tick  Tick
	rate  float64
	walk  progress.Model
	job   progress.Model
}

// The colours are those of the terminal's own palette, so that they suit its background.
var (
	faint  = lipgloss.NewStyle().Faint(true)
	strong = lipgloss.NewStyle().Bold(true)
	good   = lipgloss.NewStyle().Foreground(lipgloss.Color("2"))
	bad    = lipgloss.NewStyle().Foreground(lipgloss.Color("1")).Bold(true)
	here   = lipgloss.NewStyle().Foreground(lipgloss.Color("6")).Bold(true)
)

// keptLines is how many finished sweeps and checks are shown.
const keptLines = 6

func newScreen() screen {
	return screen{
		walk: progress.New(progress.WithColors(lipgloss.Color("6")), progress.WithWidth(60), progress.WithoutPercentage()),
		job:  progress.New(progress.WithColors(lipgloss.Color("5")), progress.WithWidth(24), progress.WithoutPercentage()),
	}
}

// Init implements [tea.Model].
func (s screen) Init() tea.Cmd { return nil }

// Update implements [tea.Model].
func (s screen) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		s.walk.SetWidth(max(min(msg.Width-20, 80), 10))
	case Setup:
		s.setup, s.at = msg, make([]int, len(msg.Instances))
	case Step:
		s.at[msg.Instance] = msg.Index
	case Sweep:
		s.sweep = msg
		if msg.Done {
			s.sweep = Sweep{}
			s.keep(fmt.Sprintf("%-9s %s", msg.Kind, msg.text()))
		}
	case Check:
		s.keep(fmt.Sprintf("%-9s %s", "check", msg.text()))
	case Tick:
		if span := (msg.At - s.tick.At).Seconds(); span > 0 {
			now := float64(msg.Ops-s.tick.Ops) / span
			s.rate += (now - s.rate) * 0.2 // smooth enough to be read
		}
		s.tick = msg
	}
	return s, nil
}

func (s *screen) keep(line string) {
	s.done = append(s.done[:len(s.done):len(s.done)], line)
	s.done = s.done[max(len(s.done)-keptLines, 0):]
}

// View implements [tea.Model].
func (s screen) View() tea.View {
	if len(s.setup.Instances) == 0 {
		return tea.NewView("filling the keyspace ...\n")
	}
	var b strings.Builder
	title, rest, _ := strings.Cut(s.setup.headline(), "\n\n")
	fmt.Fprintf(&b, "%s\n\n%s\n\n", strong.Render(title), faint.Render(rest))
	fmt.Fprintf(&b, "  %s %3.0f%%  %.0f s\n\n", s.walk.ViewAs(s.tick.Part), 100*s.tick.Part, s.tick.At.Seconds())
	s.drawPhases(&b)
	s.drawSweeps(&b)
	fmt.Fprintf(&b, "\n  %s operations, %s a second · %s fallbacks · %s keys moved by sweeps\n",
		strong.Render(thousands(s.tick.Ops)), thousands(int64(s.rate)), thousands(s.tick.Fallbacks), thousands(s.tick.Moved))
	fmt.Fprintf(&b, "  %s   %s   %s\n", faulty("lost", s.tick.Lost), faulty("stale", s.tick.Stale), faulty("revived", s.tick.Revived))
	return tea.NewView(b.String())
}

func faulty(word string, n int64) string {
	style := good
	if n > 0 {
		style = bad
	}
	return style.Render(word + " " + thousands(n))
}

// drawPhases draws a row for each instance and a column for each phase.
func (s *screen) drawPhases(b *strings.Builder) {
	fmt.Fprintf(b, "  %-18s", "")
	for i, p := range s.setup.Phases {
		style := faint
		for _, at := range s.at {
			if at == i {
				style = strong
			}
		}
		b.WriteString(style.Render(fmt.Sprintf("%-10s", p)))
	}
	b.WriteByte('\n')
	for i, name := range s.setup.Instances {
		if i == maxRows {
			fmt.Fprintf(b, "  and %d more\n", len(s.setup.Instances)-maxRows)
			break
		}
		fmt.Fprintf(b, "  %-7s%s", name, faint.Render(fmt.Sprintf("%-11s", s.setup.Libraries[i])))
		for at := range s.setup.Phases {
			if at == s.at[i] {
				b.WriteString(here.Render("●"))
			} else {
				b.WriteString(faint.Render("·"))
			}
			b.WriteString("         ")
		}
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
}

// maxRows is how many instances are shown, so that the picture stays on the screen.
const maxRows = 12

// drawSweeps draws what was swept and, at the end, what is being swept. Its height stays the same.
func (s *screen) drawSweeps(b *strings.Builder) {
	for i := range keptLines {
		if i < len(s.done) {
			fmt.Fprintf(b, "  %s %s\n", good.Render("✓"), faint.Render(s.done[i]))
		} else {
			b.WriteByte('\n')
		}
	}
	if s.sweep.Kind == "" {
		b.WriteByte('\n')
		return
	}
	fmt.Fprintf(b, "  %s %-9s %s %s keys seen, %s changed\n", here.Render("▸"), s.sweep.Kind, s.job.ViewAs(s.sweep.Part),
		thousands(s.sweep.Matched), thousands(s.sweep.Changed))
}

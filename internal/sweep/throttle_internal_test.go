package sweep

import (
	"strings"
	"testing"
	"time"
)

// TestPace walks the throttle through moments of a server: what it does in each, and why it says so.
func TestPace(t *testing.T) {
	const most = 300
	calm := signals{latency: 300 * time.Microsecond, idle: 200 * time.Microsecond, cpu: 0.3}
	with := func(change func(*signals)) signals { s := calm; change(&s); return s }
	slow := with(func(s *signals) { s.latency = 3 * time.Millisecond })
	for _, c := range []struct {
		name   string
		before pace
		now    signals
		want   pace // but for its text
		says   string
	}{
		{"nothing the matter", pace{batch: most}, calm, pace{batch: most}, ""},
		{"slow: smaller pages", pace{batch: most}, slow, pace{batch: 150, class: "latency"}, "p99 3ms, limit 1ms"},
		{"slow at the smallest page: sleep", pace{batch: 20}, slow, pace{batch: 20, ratio: 0.1, class: "latency"}, "latency"},
		{"still slow: sleep more", pace{batch: 20, ratio: 0.4}, slow, pace{batch: 20, ratio: 0.8, class: "latency"}, "latency"},
		{"not for ever more", pace{batch: 20, ratio: maxRatio}, slow, pace{batch: 20, ratio: maxRatio, class: "latency"}, "latency"},
		{"close to the limit: as it is", pace{batch: 80}, with(func(s *signals) { s.latency = 900 * time.Microsecond }), pace{batch: 80, class: "latency"}, "latency"},
		{"an idle server that is slow sets the limit", pace{batch: most}, with(func(s *signals) { s.idle, s.latency = 4*time.Millisecond, 5*time.Millisecond }), pace{batch: most}, ""},
		{"room again: sleep less first", pace{batch: 20, ratio: 0.4}, calm, pace{batch: 20, ratio: 0.2, class: "latency"}, "latency"},
		{"then larger pages", pace{batch: 100}, calm, pace{batch: 125, class: "latency"}, "latency"},
		{"as large as they may be", pace{batch: 290}, calm, pace{batch: most}, ""},
		{"busy", pace{batch: most}, with(func(s *signals) { s.cpu = 0.97 }), pace{batch: most, ratio: 0.1, class: "cpu"}, "97 % of a core"},
		{"a fork", pace{batch: most}, with(func(s *signals) { s.saving = "an RDB save" }), pace{batch: most, ratio: 1, class: "fork"}, "RDB save"},
		{"full", pace{batch: most}, with(func(s *signals) { s.used, s.maxMemory, s.copies = 96, 100, true }), pace{batch: most, paused: true, class: "memory"}, "96 %"},
		{"full, and nothing is copied", pace{batch: most}, with(func(s *signals) { s.used, s.maxMemory = 96, 100 }), pace{batch: most}, ""},
		{"less full is not enough", pace{batch: most, paused: true, class: "memory"}, with(func(s *signals) { s.used, s.maxMemory, s.copies = 94, 100, true }), pace{batch: most, paused: true, class: "memory"}, "94 %"},
		{"room for copies", pace{batch: most, paused: true, class: "memory"}, with(func(s *signals) { s.used, s.maxMemory, s.copies = 90, 100, true }), pace{batch: most}, ""},
		{"a replica is behind", pace{batch: most}, with(func(s *signals) { s.lag = 40 << 20 }), pace{batch: most, paused: true, class: "replica"}, "40 MiB behind"},
		{"it still is", pace{batch: most, paused: true, class: "replica"}, with(func(s *signals) { s.lag = 20 << 20 }), pace{batch: most, paused: true, class: "replica"}, "20 MiB"},
		{"buffers", pace{batch: most}, with(func(s *signals) { s.buffers = 200 << 20 }), pace{batch: most, paused: true, class: "buffers"}, "200 MiB"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := c.before.next(c.now, most)
			if !strings.Contains(got.text, c.says) || (got.class == "") != (got.text == "") {
				t.Errorf("says %q, want %q", got.text, c.says)
			}
			got.text = ""
			if got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

// TestSignalsOfInfo reads what a server says.
func TestSignalsOfInfo(t *testing.T) {
	s := &sampler{before: signals{idle: time.Millisecond, copies: true}, cpuAt: time.Unix(100, 0), cpuUsed: 10}
	got := s.parse("used_memory:1000\r\nmaxmemory:2000\r\nmem_clients_slaves:7\r\nmem_clients_normal:5\r\n"+
		"slave0:ip=127.0.0.1,port=1,state=online,offset=900,lag=0\r\nslave1:ip=127.0.0.1,port=2,state=wait_bgsave,offset=0,lag=0\r\n"+
		"master_repl_offset:1000\r\nrdb_bgsave_in_progress:0\r\naof_rewrite_in_progress:1\r\n"+
		"used_cpu_sys:50\r\nused_cpu_user:50\r\nused_cpu_sys_main_thread:5\r\nused_cpu_user_main_thread:6\r\n", time.Unix(102, 0))
	want := signals{idle: time.Millisecond, copies: true, used: 1000, maxMemory: 2000, lag: 100, buffers: 12, saving: "an AOF rewrite", cpu: 0.5}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/classwaves/rekey/plan"
)

// packaged reads a file of the packaging.
func packaged(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../..", path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// documents reads a file of YAML documents.
func documents(t *testing.T, path string) (out []map[string]any) {
	t.Helper()
	for decoder := yaml.NewDecoder(strings.NewReader(packaged(t, path))); ; {
		var d map[string]any
		if err := decoder.Decode(&d); errors.Is(err, io.EOF) {
			return out
		} else if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		out = append(out, d)
	}
}

// at follows keys and indices into a document.
func at(t *testing.T, v any, path ...any) any {
	t.Helper()
	for _, p := range path {
		switch step := p.(type) {
		case string:
			m, ok := v.(map[string]any)
			if !ok || m[step] == nil {
				t.Fatalf("no %v of %v", step, path)
			}
			v = m[step]
		case int:
			l, ok := v.([]any)
			if !ok || len(l) <= step {
				t.Fatalf("no element %v of %v", step, path)
			}
			v = l[step]
		}
	}
	return v
}

var longFlag = regexp.MustCompile(`--[a-z][a-z-]+`)

// TestPackagedFlags: whatever the packaging gives to rekey proxy, it takes.
func TestPackagedFlags(t *testing.T) {
	known := newRoot(&app{}).PersistentFlags()
	own := newProxy(&app{}).Flags()
	sidecar := documents(t, "packaging/sidecar.yaml")
	var args []string
	for _, a := range at(t, sidecar[1], "spec", "template", "spec", "initContainers", 0, "args").([]any) {
		args = append(args, a.(string))
	}
	image := regexp.MustCompile(`(?m)^CMD .*$`).FindString(packaged(t, "packaging/Dockerfile"))
	unit := strings.Join(regexp.MustCompile(`(?m)^Exec.*rekey proxy.*$`).FindAllString(packaged(t, "packaging/rekey-proxy.service"), -1), "\n")
	for where, text := range map[string]string{
		"sidecar": strings.Join(args, " "), "image": image, "service": unit, "default": packaged(t, "packaging/rekey-proxy.default"),
	} {
		found := longFlag.FindAllString(text, -1)
		if len(found) == 0 {
			t.Errorf("%s: no flag in %q", where, text)
		}
		for _, flag := range found {
			name := strings.TrimPrefix(flag, "--")
			if own.Lookup(name) == nil && known.Lookup(name) == nil && name != "help" {
				t.Errorf("%s: rekey proxy has no flag %s", where, flag)
			}
		}
	}
	text := at(t, sidecar[0], "data", "rekey.yaml").(string)
	if _, err := plan.Parse("rekey.yaml", []byte(text), os.LookupEnv); err != nil {
		t.Errorf("the sidecar's plan: %v", err)
	}
}

// TestSidecar: the proxy starts before the application, serves it on loopback, and is nobody's root.
func TestSidecar(t *testing.T) {
	pod := at(t, documents(t, "packaging/sidecar.yaml")[1], "spec", "template", "spec")
	proxy := at(t, pod, "initContainers", 0)
	if at(t, proxy, "restartPolicy") != "Always" { // else the application waits for its end
		t.Error("the proxy is no sidecar")
	}
	if at(t, proxy, "securityContext", "runAsNonRoot") != true || at(t, proxy, "securityContext", "readOnlyRootFilesystem") != true {
		t.Error("the proxy has rights that it does not need")
	}
	args := at(t, proxy, "args").([]any)
	url := at(t, pod, "containers", 0, "env", 0, "value").(string)
	if want := "--listen=" + strings.TrimPrefix(url, "redis://"); !strings.Contains(strings.Join(strings.Fields(strings.Trim(yamlText(args), "[]")), " "), want) {
		t.Errorf("the application connects to %s, the proxy has %v", url, args)
	}
	number := func(flag string) (n int) {
		for _, a := range args {
			if value, is := strings.CutPrefix(a.(string), flag); is {
				n, _ = strconv.Atoi(value)
			}
		}
		return n
	}
	limit, _ := strconv.Atoi(strings.TrimSuffix(at(t, proxy, "resources", "limits", "memory").(string), "Mi"))
	memory, clients := number("--max-memory="), number("--max-clients=")
	if buffers := memory + clients*64<<10; memory == 0 || clients == 0 || buffers > limit<<20*3/4 {
		t.Errorf("%d clients may take %d bytes and 64 KiB each, of the %d MiB of the pod", clients, memory, limit)
	}
	for _, probe := range []string{"startupProbe", "readinessProbe", "livenessProbe"} {
		if port := at(t, proxy, probe, "httpGet", "port"); port != at(t, proxy, "ports", 0, "name") {
			t.Errorf("%s asks port %v", probe, port)
		}
	}
}

func yamlText(args []any) string {
	var b strings.Builder
	for _, a := range args {
		b.WriteString(a.(string) + " ")
	}
	return b.String()
}

// TestImage: the image is one static program of a user that is not root.
func TestImage(t *testing.T) {
	text := packaged(t, "packaging/Dockerfile")
	for _, want := range []string{"FROM scratch\n", "CGO_ENABLED=0 go build", "USER 65532:65532\n", "./cmd/rekey\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("the Dockerfile lacks %q", want)
		}
	}
}

// TestReleases: what the configurations of releases name is there.
func TestReleases(t *testing.T) {
	release := documents(t, ".goreleaser.yaml")[0]
	if at(t, release, "builds", 0, "main") != "./cmd/rekey" || at(t, release, "builds", 0, "env", 0) != "CGO_ENABLED=0" {
		t.Error("the release builds something else")
	}
	deb := documents(t, "packaging/nfpm.yaml")[0]
	contents := append(at(t, deb, "contents").([]any), at(t, release, "nfpms", 0, "contents").([]any)...)
	for _, c := range contents {
		src, ok := c.(map[string]any)["src"].(string)
		if !ok || strings.Contains(src, "$") {
			continue
		}
		if found, err := filepath.Glob(filepath.Join("../..", src)); err != nil || len(found) == 0 {
			t.Errorf("%s is not there: %v", src, err)
		}
	}
}

// TestUnit: the service is started again for as long as it takes while the server is away, and never for a plan that is
// wrong. It is checked by systemd where that is there, with this test in the program's place.
func TestUnit(t *testing.T) {
	unit, service, _ := strings.Cut(packaged(t, "packaging/rekey-proxy.service"), "[Service]")
	if !strings.Contains(unit, "\nStartLimitIntervalSec=0\n") {
		t.Errorf("systemd gives the service up after a few starts:\n%s", unit)
	}
	if !strings.Contains(service, fmt.Sprintf("\nRestartPreventExitStatus=%d\n", exitUsage)) || strings.Contains(service, "\nExecStartPre=") {
		t.Errorf("systemd starts the service again and again with a plan that is wrong:\n%s", service)
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Log("no systemd here: the unit's flags are checked alone")
		return
	}
	text := strings.ReplaceAll(packaged(t, "packaging/rekey-proxy.service"), "/usr/bin/rekey", os.Args[0])
	path := filepath.Join(t.TempDir(), "rekey-proxy.service")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(analyze, "verify", path).CombinedOutput(); err != nil || bytes.Contains(out, []byte("rekey-proxy")) {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	broken := filepath.Join(t.TempDir(), "rekey-proxy.service")
	if err := os.WriteFile(broken, []byte(strings.Replace(text, "Type=notify", "Typo=notify", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, _ := exec.Command(analyze, "verify", broken).CombinedOutput(); !bytes.Contains(out, []byte("Typo")) {
		t.Errorf("systemd-analyze finds nothing wrong with a unit that is:\n%s", out)
	}
}

package main

import (
	"bufio"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A jsonField is a row of a table of json.md.
type jsonField struct {
	kind     string
	optional bool // the field is not in every object
}

var (
	jsonRow = regexp.MustCompile("(?m)^\\| (`[^|]+`) \\| (number|text|true or false|list)(, if [^|]+)? \\|")
)

// readJSONPage returns the tables of json.md by their headings.
func readJSONPage(t *testing.T) map[string]map[string]jsonField {
	t.Helper()
	page, err := os.ReadFile("json.md")
	require.NoError(t, err)
	tables := map[string]map[string]jsonField{}
	for _, section := range regexp.MustCompile(`(?m)^## `).Split(string(page), -1)[1:] {
		heading, rest, _ := strings.Cut(section, "\n")
		tables[heading] = map[string]jsonField{}
		for _, row := range jsonRow.FindAllStringSubmatch(rest, -1) {
			for _, name := range spans(row[1]) {
				tables[heading][name] = jsonField{row[2], row[3] != ""}
			}
		}
	}
	return tables
}

// jsonKinds returns the fields of object by their paths, with their kinds.
func jsonKinds(object map[string]any, prefix string, kinds map[string]string) map[string]string {
	for name, value := range object {
		path := prefix + name
		switch value := value.(type) {
		case map[string]any:
			jsonKinds(value, path+".", kinds)
		case []any:
			kinds[path] = "list"
			for _, one := range value {
				if inner, ok := one.(map[string]any); ok {
					delete(kinds, path)
					jsonKinds(inner, path+"[].", kinds)
				}
			}
		case string:
			kinds[path] = "text"
		case float64:
			kinds[path] = "number"
		case bool:
			kinds[path] = "true or false"
		default:
			kinds[path] = "null"
		}
	}
	return kinds
}

// A jsonRig runs the parts' programs.
type jsonRig struct {
	*testing.T
	bin string
	log *string // file of the last server's log
}

// out returns the lines that a program prints, whatever its exit status.
func (r jsonRig) out(program string, args ...string) []string {
	r.Helper()
	cmd := exec.CommandContext(r.Context(), filepath.Join(r.bin, program), args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	text, err := cmd.Output()
	if strings.Contains(stderr.String(), "network namespace of your own") {
		r.Skip(stderr.String())
	}
	if len(text) == 0 {
		r.Fatal(err, stderr.String())
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

// demo returns the events that the demo of a part prints, or its results.
func (r jsonRig) demo(part string, events bool) []string {
	r.Helper()
	return slices.DeleteFunc(r.out(part, "demo", "-json"), func(line string) bool { return strings.Contains(line, `"us":`) != events })
}

// serve starts a server, and returns its address and a function that stops it and returns
// the rest of its output, or of its log.
func (r jsonRig) serve(program string, args ...string) (addr string, stop func() (stdout, stderr []string)) {
	r.Helper()
	cmd := exec.CommandContext(r.Context(), filepath.Join(r.bin, program), append([]string{"serve", "-addr", "127.0.0.1:0"}, args...)...)
	log, err := os.Create(filepath.Join(r.TempDir(), "log"))
	require.NoError(r, err)
	defer log.Close()
	cmd.Stderr, *r.log = log, log.Name()
	out, err := cmd.StdoutPipe()
	require.NoError(r, err)
	require.NoError(r, cmd.Start())
	in := bufio.NewReader(out)
	first, err := in.ReadString('\n')
	require.NoError(r, err)
	addr = regexp.MustCompile(`127\.0\.0\.1:\d+`).FindString(first)
	return addr, func() ([]string, []string) {
		require.NoError(r, cmd.Process.Signal(os.Interrupt))
		rest, err := io.ReadAll(in)
		require.NoError(r, err)
		require.NoError(r, cmd.Wait())
		lines := func(text string) []string { return strings.Split(strings.TrimSpace(text), "\n") }
		logged, err := os.ReadFile(log.Name())
		require.NoError(r, err)
		return lines(first + string(rest)), lines(string(logged))
	}
}

// loggedURL returns the first URL in the log of the last server that was started, which
// logs it before it prints its address.
func (r jsonRig) loggedURL() string {
	r.Helper()
	text, err := os.ReadFile(*r.log)
	require.NoError(r, err)
	url := regexp.MustCompile(`http://[^\s"]+`).FindString(string(text))
	require.NotEmpty(r, url)
	return url
}

func (r jsonRig) get(url string) string {
	r.Helper()
	client := &http.Client{Timeout: 30 * time.Second}
	defer client.CloseIdleConnections()
	response, err := client.Get(url)
	require.NoError(r, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(r, err)
	return string(body)
}

// dial sends text to addr and returns the connection.
func (r jsonRig) dial(addr, text string) *net.TCPConn {
	r.Helper()
	c, err := net.DialTimeout("tcp", addr, 30*time.Second)
	require.NoError(r, err)
	c.SetDeadline(time.Now().Add(30 * time.Second))
	r.Cleanup(func() { c.Close() })
	_, err = io.WriteString(c, text)
	require.NoError(r, err)
	return c.(*net.TCPConn)
}

// withMsg returns those lines that have msg.
func withMsg(lines []string, msg string) []string {
	return slices.DeleteFunc(lines, func(line string) bool { return msg != "" && !strings.Contains(line, `"msg":"`+msg+`"`) })
}

// jsonSources print what the tables of json.md describe, by their headings.
var jsonSources = map[string]func(jsonRig) []string{
	"Events: `demo -json`, `trace -json`": func(r jsonRig) (lines []string) {
		for _, part := range []string{"part1-hello", "part2-backlog", "part3-pipelining", "part4-pooling"} {
			lines = append(lines, r.demo(part, true)...)
		}
		return append(lines, r.out("part2-backlog", "trace", "-json", "-n", "1", "-delay", "0s")...)
	},
	"Results of part 1: `demo -json`": func(r jsonRig) []string { return r.demo("part1-hello", false) },
	"Results of part 2: `demo -json`": func(r jsonRig) []string { return r.demo("part2-backlog", false) },
	"Results of part 3: `demo -json`": func(r jsonRig) []string { return r.demo("part3-pipelining", false) },
	"Results of part 4: `demo -json`": func(r jsonRig) []string { return r.demo("part4-pooling", false) },
	"A queue to watch: `part2-backlog serve -watch -json`": func(r jsonRig) []string {
		addr, stop := r.serve("part2-backlog", "-watch", "-json")
		r.get("http://" + addr)
		lines, _ := stop()
		return lines
	},
	"Clients: `part2-backlog burst -json`": func(r jsonRig) []string {
		addr, stop := r.serve("part2-backlog")
		lines := r.out("part2-backlog", "burst", "-json", "-every", "0s", "-addr", addr)
		stop()
		return append(lines, r.out("part2-backlog", "burst", "-json", "-every", "0s", "-addr", addr)...)
	},
	"Facts: `part2-backlog facts -json`": func(r jsonRig) []string { return r.out("part2-backlog", "facts", "-json") },
	"A frozen server: `part2-backlog freeze -json`": func(r jsonRig) []string {
		return r.out("part2-backlog", "freeze", "-json", "--", filepath.Join(r.bin, "part1-hello"), "serve", "-addr", "{addr}")
	},
	"A plan: `part2-backlog plan -json`": func(r jsonRig) []string { return r.out("part2-backlog", "plan", "-json") },
	"A plan and the kernel: `part2-backlog plan -measure -json`": func(r jsonRig) []string {
		return r.out("part2-backlog", "plan", "-measure", "-json", "-rate", "10", "-n", "20")
	},
	"Counters of the gateway: `GET /-/stats`": func(r jsonRig) []string {
		backend, stopBackend := r.serve("part3-pipelining")
		addr, stop := r.serve("part4-pooling", "-backend", "http://"+backend, "-admin", "127.0.0.1:0")
		r.get("http://" + addr)
		stats := r.get(r.loggedURL())
		stop()
		stopBackend()
		return []string{stats}
	},
	"Log lines: `serve -log-format json`": func(r jsonRig) (lines []string) {
		for _, part := range []string{"part1-hello", "part2-backlog", "part3-pipelining", "part4-pooling"} {
			_, stop := r.serve(part, "-log-format", "json")
			_, logged := stop()
			lines = append(lines, withMsg(logged, "")...)
		}
		return slices.DeleteFunc(lines, func(line string) bool { return !strings.Contains(line, `"msg":"stopping`) })
	},
	"The log of parts 1 and 2: `msg` is `connection`": func(r jsonRig) (lines []string) {
		for _, part := range []string{"part1-hello", "part2-backlog"} {
			addr, stop := r.serve(part, "-log-format", "json")
			r.dial(addr, "").Close()
			r.get("http://" + addr)
			_, logged := stop()
			lines = append(lines, withMsg(logged, "connection")...)
		}
		return lines
	},
	"The access log of parts 3 and 4: `msg` is `response`": func(r jsonRig) (lines []string) {
		for _, part := range []string{"part3-pipelining", "part4-pooling"} {
			addr, stop := r.serve(part, "-log-format", "json", "-access-log")
			r.get("http://" + addr)
			c := r.dial(addr, "GET /stream/1000000 HTTP/1.1\r\nHost: a\r\n\r\n")
			_, err := io.ReadFull(c, make([]byte, 100))
			require.NoError(r, err)
			c.SetLinger(0)
			c.Close()
			_, logged := stop()
			lines = append(lines, withMsg(logged, "response")...)
		}
		return lines
	},
}

// Every field that the programs print as JSON is described in json.md, with its type, and
// every field that is described is printed.
func TestJSONFieldsAreThoseOnThePage(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("most of the commands measure Linux")
	}
	r, err := findRepo(t.Context(), ".")
	require.NoError(t, err)
	bin := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin+"/", "./part1-hello", "./part2-backlog", "./part3-pipelining", "./part4-pooling")
	build.Dir = r.root
	text, err := build.CombinedOutput()
	require.NoError(t, err, "%s", text)
	page := readJSONPage(t)
	require.ElementsMatch(t, slices.Collect(maps.Keys(jsonSources)), slices.Collect(maps.Keys(page)), "headings")
	for heading, source := range jsonSources {
		t.Run(heading, func(t *testing.T) {
			t.Parallel()
			seen := map[string]bool{}
			for _, line := range source(jsonRig{t, bin, new(string)}) {
				var object map[string]any
				require.NoError(t, json.Unmarshal([]byte(line), &object), line)
				kinds := jsonKinds(object, "", map[string]string{})
				for name, kind := range kinds {
					seen[name] = true
					assert.Equal(t, page[heading][name].kind, kind, "%s in %s", name, line)
				}
				for name, field := range page[heading] {
					assert.True(t, field.optional || kinds[name] != "", "no %s in %s", name, line)
				}
			}
			for name := range page[heading] {
				assert.True(t, seen[name], "%s is described, but not printed", name)
			}
		})
	}
}

package clients

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// limit is how long a client may take for a whole test. The kernel's own patience
// with a server that does not answer is minutes.
const limit = 20 * time.Second

// TestMain builds net/http's client if there is no $CLIENT.
func TestMain(m *testing.M) {
	if os.Getenv("CLIENT") != "" {
		os.Exit(m.Run())
	}
	dir, err := os.MkdirTemp("", "client")
	if err != nil {
		panic(err)
	}
	program := filepath.Join(dir, "client")
	if text, err := exec.Command("go", "build", "-o", program, "../judged/client").CombinedOutput(); err != nil {
		panic(string(text))
	}
	os.Setenv("CLIENT", "exec "+program)
	status := m.Run()
	os.RemoveAll(dir)
	os.Exit(status)
}

// A run is what a client printed.
type run struct {
	requests []string
	printed  string // on standard output
	errors   string // on standard error
	rule     string
}

// runClient starts the client in $CLIENT, sends it requests, and returns what it
// printed when it has ended. Standard input ends after the last request.
func runClient(t *testing.T, rule string, callers int, requests ...string) run {
	t.Helper()
	command := os.Getenv("CLIENT")
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, "sh", "-c", command)
	cmd.Dir, cmd.WaitDelay = "../..", time.Second
	cmd.Env = append(os.Environ(), fmt.Sprint("CALLERS=", callers))
	cmd.Stdin = strings.NewReader(strings.Join(requests, "\n") + "\n")
	var printed, errors bytes.Buffer
	cmd.Stdout, cmd.Stderr = &printed, &errors
	err := cmd.Run()
	r := run{requests, printed.String(), errors.String(), rule}
	switch {
	case ctx.Err() != nil:
		r.fail(t, "the client had not ended after %v: it must end when it has printed a line for each request", limit)
	case err != nil && printed.Len() == 0:
		r.fail(t, "the client ended (%v) and printed no result", err)
	}
	return r
}

// fail ends the test and says what was sent, what was printed and the rule.
func (r run) fail(t *testing.T, wrong string, args ...any) {
	t.Helper()
	const shown = 400 // bytes of each
	text := fmt.Sprintf(wrong, args...)
	for _, part := range []struct{ name, text string }{{"input:", strings.Join(r.requests, "\n")}, {"printed:", r.printed}, {"errors:", r.errors}} {
		if part.text = strings.TrimSpace(part.text); part.text != "" {
			text += "\n  " + part.name + "\n    " + strings.ReplaceAll(part.text[:min(shown, len(part.text))], "\n", "\n    ")
		}
	}
	t.Fatalf("%s\n  rule: %s", text, r.rule)
}

// result returns what the client says of request i: "200 5" or "error …".
func (r run) result(t *testing.T, i int) string {
	t.Helper()
	for line := range strings.Lines(r.printed) {
		if rest, found := strings.CutPrefix(strings.TrimSpace(line), r.requests[i]+" "); found {
			return rest
		}
	}
	r.fail(t, "no line begins with %q", r.requests[i])
	return ""
}

// want fails the test unless the result of request i begins with want.
func (r run) want(t *testing.T, i int, want string) {
	t.Helper()
	if got := r.result(t, i); got != want && !strings.HasPrefix(got, want+" ") && !(want == "error" && strings.HasPrefix(got, want)) {
		r.fail(t, "the result of %q is %q, want %q", r.requests[i], got, want)
	}
}

// A server does with each connection what its script says; number counts from 1.
type server struct {
	url      string
	accepted atomic.Int64
}

func serve(t *testing.T, script func(c *net.TCPConn, number int64)) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &server{url: "http://" + l.Addr().String()}
	var mu sync.Mutex
	var open []net.Conn
	var group sync.WaitGroup
	group.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			n := s.accepted.Add(1)
			group.Go(func() { script(c.(*net.TCPConn), n); c.Close() })
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		group.Wait()
	})
	return s
}

// answering is a script that answers each request with the bytes that answer
// returns, and closes for "", or after bytes that do not say where they end.
func answering(answer func(number int64, r *http.Request) (bytes string, last bool)) func(*net.TCPConn, int64) {
	return func(c *net.TCPConn, number int64) {
		for in := bufio.NewReader(c); ; {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			io.Copy(io.Discard, r.Body)
			text, last := answer(number, r)
			if _, err := io.WriteString(c, text); err != nil || last {
				return
			}
		}
	}
}

const hello = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

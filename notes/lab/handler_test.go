package lab

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"socketup/part3-pipelining/server"
	"socketup/part3-pipelining/socket"
)

// serveLab serves a lab until the test ends, and returns its address: http://HOST:PORT/.
func serveLab(t *testing.T) string {
	fd, err := socket.Listen("127.0.0.1:0", 16)
	require.NoError(t, err)
	top := "http://" + socket.LocalAddr(fd).String() + "/"
	l := New("../..")
	s, err := server.New(fd, l.Handler(func(w *server.Response, r *server.Request) {
		if string(r.Path) == "/lab.html" {
			ServePage(w, r)
			return
		}
		w.Error(404, "not the lab's")
	}),
		server.DefaultLimits, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	done := make(chan struct{})
	go func() { s.Serve(); close(done) }() // the cleanup waits for it
	t.Cleanup(func() { l.Close(); s.Stop(); receive(t, done) })
	return top
}

// do sends a request with fields NAME: VALUE and returns its response.
func do(t *testing.T, method, at string, fields ...string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, at, nil)
	require.NoError(t, err)
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		if name == "Host" {
			r.Host = value
		}
		r.Header.Set(name, value)
	}
	client := http.Client{Timeout: patience}
	response, err := client.Do(r)
	require.NoError(t, err)
	t.Cleanup(func() { response.Body.Close() })
	return response
}

func text(t *testing.T, r *http.Response) string {
	t.Helper()
	all, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	return string(all)
}

func TestStreamAndJSONSayTheSame(t *testing.T) {
	top := serveLab(t)

	response := do(t, "POST", top+"lab/run?experiment=pipeline&depth=3&a=20&said=7", "Lab: play")

	assert.Equal(t, "text/event-stream", response.Header.Get("Content-Type"))
	stream := text(t, response)
	_, last, found := strings.Cut(stream, "event: result\ndata: ")
	require.True(t, found, stream)
	var streamed, kept Result
	require.NoError(t, json.Unmarshal([]byte(last), &streamed))
	again := text(t, do(t, "GET", top+fmt.Sprint("lab/result?id=", streamed.ID)))
	require.NoError(t, json.Unmarshal([]byte(again), &kept))
	assert.Equal(t, streamed.Sentence, kept.Sentence)
	assert.Equal(t, fmt.Sprintf("You said 7; %d ms until the last response.", kept.Was), kept.Sentence[:strings.Index(kept.Sentence, ".")+1])
	assert.Equal(t, len(kept.Events), strings.Count(stream, "data: ")-1, "each event is streamed once")
	assert.Contains(t, kept.Command, "play pipeline depth=3 slots=32 a=20")
}

func TestRunAsJSON(t *testing.T) {
	top := serveLab(t)

	response := do(t, "POST", top+"lab/run?experiment=close&unread=0&clients=3&format=json", "Lab: play")

	assert.Equal(t, "application/json", response.Header.Get("Content-Type"))
	var result Result
	require.NoError(t, json.Unmarshal([]byte(text(t, response)), &result))
	assert.Equal(t, "3 responses were whole. 0 of 3 connections were reset.", result.Sentence)
	assert.Len(t, result.Events, 3)
}

func TestOnlyTheLabsOwnPageStartsAnExperiment(t *testing.T) {
	top := serveLab(t)
	host := strings.TrimSuffix(strings.TrimPrefix(top, "http://"), "/")
	const run = "lab/run?experiment=close&clients=1&unread=0"
	for _, c := range []struct {
		what, method, path string
		fields             []string
		status             int
	}{
		{"the page", "POST", run, []string{"Lab: play", "Origin: http://" + host, "Sec-Fetch-Site: same-origin"}, 200},
		{"curl", "POST", run, []string{"Lab: play"}, 200},
		{"a link or an image", "GET", run, []string{"Lab: play"}, 405},
		{"a form of another site", "POST", run, []string{"Origin: http://evil.example", "Sec-Fetch-Site: cross-site"}, 403},
		{"a script of another site", "POST", run, []string{"Lab: play", "Sec-Fetch-Site: cross-site"}, 403},
		{"another port of this machine", "POST", run, []string{"Lab: play", "Origin: http://127.0.0.1:1"}, 403},
		{"a script of another port", "POST", run, []string{"Lab: play", "Sec-Fetch-Site: same-site"}, 403},
		{"without the field", "POST", run, nil, 403},
		{"a name that was made to point here", "POST", run, []string{"Lab: play", "Host: evil.example", "Origin: http://evil.example", "Sec-Fetch-Site: same-origin"}, 421},
		{"reading by such a name", "GET", "lab/result?id=1", []string{"Host: evil.example:80"}, 421},
		{"by name", "GET", "lab.html", []string{"Host: localhost:8080"}, 200},
		{"the script is not posted", "POST", "lab.js", []string{"Lab: play"}, 405},
		{"another path", "GET", "labs", nil, 404},
		{"bad settings", "POST", run + "&size=2", []string{"Lab: play"}, 400},
		{"a bad query", "POST", run + "&%zz", []string{"Lab: play"}, 400},
		{"no such result", "GET", "lab/result?id=99", nil, 404},
	} {
		response := do(t, c.method, top+c.path, c.fields...)
		assert.Equal(t, c.status, response.StatusCode, "%s: %s", c.what, text(t, response))
	}
}

func TestSecondRunIsToldToWait(t *testing.T) {
	top := serveLab(t)
	first := do(t, "POST", top+"lab/run?experiment=pipeline&driver=serial&depth=32&a=500", "Lab: play")
	waitForEvent(t, first.Body)

	second := do(t, "POST", top+"lab/run?experiment=close", "Lab: play")

	assert.Equal(t, 409, second.StatusCode)
	assert.Contains(t, text(t, second), "one experiment at a time")
}

// waitForEvent reads a stream to its first event.
func waitForEvent(t *testing.T, stream io.Reader) {
	t.Helper()
	for lines := bufio.NewReader(stream); ; {
		line, err := lines.ReadString('\n')
		require.NoError(t, err)
		if strings.HasPrefix(line, "data: ") {
			return
		}
	}
}

func TestClosedPageEndsTheRun(t *testing.T) {
	top := serveLab(t)
	host := strings.TrimSuffix(strings.TrimPrefix(top, "http://"), "/")
	for _, settings := range []string{"experiment=backlog&backlog=0&service=1000&clients=60", "experiment=pool&pause=2000&idle=50", "experiment=pipeline&driver=serial&depth=32&a=500"} {
		before := descriptors(t)
		c, err := net.Dial("tcp", host)
		require.NoError(t, err)
		require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
		fmt.Fprintf(c, "POST /lab/run?%s HTTP/1.1\r\nHost: %s\r\nLab: play\r\nContent-Length: 0\r\n\r\n", settings, host)
		waitForEvent(t, c)

		c.Close()
		closed := time.Now()

		require.EventuallyWithT(t, func(c *assert.CollectT) {
			assert.Empty(c, children(t))
			assert.LessOrEqual(c, descriptors(t), before)
		}, MaxTime/2, tick, "long before the time of the run is over")
		t.Logf("%s: nothing is left %v after the page was closed", settings, time.Since(closed).Round(time.Millisecond))
	}
}

// descriptors returns how many descriptors this process has open.
func descriptors(t *testing.T) int {
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("needs /proc/self/fd")
	}
	return len(all)
}

func TestPageWithoutJavaScriptSaysWhatToType(t *testing.T) {
	page := Page()

	_, rest, found := strings.Cut(page, "<noscript>")
	require.True(t, found)
	without, _, _ := strings.Cut(rest, "</noscript>")
	assert.Contains(t, without, "The lab needs JavaScript")
	for _, e := range experiments {
		assert.Contains(t, without, "go -C notes run ./lab/serve play "+e.Name)
	}
	assert.NotRegexp(t, `https?://[^"]*"`, strings.ReplaceAll(page, "http://www.w3.org", ""), "it asks no other server for anything")
}

package server

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// reportTo is an option of startDriver: it sends what OnServed is told to told, with copies
// of the bytes that the server reuses.
func reportTo(told chan<- Served) func(*Server) {
	return func(s *Server) {
		s.OnServed = func(v Served) {
			v.Method, v.Target = bytes.Clone(v.Method), bytes.Clone(v.Target)
			told <- v
		}
	}
}

func (v Served) summary() string { return fmt.Sprintf("%s %s %d", v.Method, v.Target, v.Status) }

// Each response is reported once, in order, with the bytes that the client got.
func TestEachResponseIsReportedWithItsBytes(t *testing.T) {
	for _, driver := range drivers {
		told := make(chan Served, 10)
		r := startDriver(t, driver, reportTo(told), withHandler(func(w *Response, r *Request) {
			w.WriteString("begun ")
			if string(r.Path) == "/streamed" {
				w.Flush()
			}
			w.WriteString(strings.Repeat("x", 100))
			if string(r.Path) == "/panics" {
				panic("on purpose")
			}
		}))

		got := transcript{}.readAll(converse(t, r.addr, "GET /plain HTTP/1.1\r\nHost: a\r\n\r\nGET /streamed HTTP/1.1\r\nHost: a\r\n\r\n"+
			"GET /panics HTTP/1.1\r\nHost: a\r\n\r\nHEAD /last HTTP/1.1\r\nHost: a\r\n\r\nnonsense\r\n\r\n")).got

		sum := int64(0)
		for _, want := range []string{"GET /plain 200", "GET /streamed 200", "GET /panics 500", "HEAD /last 200", " 400"} {
			v := receive(t, told, "a report")
			assert.Equal(t, want, v.summary()[max(0, len(v.summary())-len(want)):], "%s. served.go", driver)
			assert.NoError(t, v.Err)
			assert.Less(t, v.Duration, maxWait)
			assert.GreaterOrEqual(t, v.Duration, time.Duration(0))
			assert.Equal(t, "127.0.0.1", v.Client.String())
			sum += v.Bytes
		}
		assert.EqualValues(t, len(got), sum, "%s: the bytes that the client got, all in all", driver)
	}
}

// A response that breaks off is reported with the reason, and what was sent of it.
func TestResponsesThatFailAreReportedWithTheReason(t *testing.T) {
	for _, driver := range drivers {
		told := make(chan Served, 10)
		r := startDriver(t, driver, func(s *Server) { s.Limits.HandlerTime = testTimeout }, reportTo(told), withHandler(func(w *Response, r *Request) {
			if string(r.Path) != "/late" {
				w.WriteString("begun")
				w.Flush()
			}
			if string(r.Path) == "/breaks" {
				panic("on purpose")
			}
			<-w.Done()
		}))

		for _, c := range []struct {
			path   string
			status int
			err    error
		}{{"/late", 503, nil}, {"/breaks", 200, errAborted}, {"/slow", 200, errResponseTimeout}} {
			transcript{}.readAll(converse(t, r.addr, "GET "+c.path+" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))

			last := receive(t, told, "a report")
			require.Equal(t, fmt.Sprintf("GET %s %d", c.path, c.status), last.summary(), driver)
			assert.Equal(t, c.err, last.Err, "%s %s", driver, c.path)
			assert.Positive(t, last.Bytes)
		}
	}
}

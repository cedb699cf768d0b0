package main

import (
	"fmt"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/internal/testutil"
)

var (
	metricFamily = regexp.MustCompile(`^# (HELP|TYPE) ([a-z_]+) (.+)$`)
	metricSample = regexp.MustCompile(`^([a-z_]+)(?:\{((?:[a-z]+="[^"\\]*",?)+)\})? ([0-9.e+-]+)$`)
)

// parseExposition parses the Prometheus text format as strictly as a scraper may, checks
// the names against its conventions, and returns the samples by name and labels.
func parseExposition(t testing.TB, text string) map[string]float64 {
	t.Helper()
	samples, kinds, family := map[string]float64{}, map[string]string{}, ""
	require.True(t, strings.HasSuffix(text, "\n"))
	var lastBound, lastCount float64
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if m := metricFamily.FindStringSubmatch(line); m != nil {
			if m[1] == "HELP" {
				require.NotContains(t, kinds, m[2], "line %d: a family is all in one place", i)
				require.Regexp(t, `^[A-Z].*\.$`, m[3])
				family, kinds[m[2]] = m[2], ""
			} else {
				require.Equal(t, family, m[2], "line %d: HELP, TYPE, samples", i)
				require.Regexp(t, "^(counter|gauge|histogram)$", m[3])
				kinds[family] = m[3]
			}
			lastBound, lastCount = math.Inf(-1), 0
			continue
		}
		m := metricSample.FindStringSubmatch(line)
		require.NotNil(t, m, "line %d: %s", i, line)
		name, labels := m[1], m[2]
		value, err := strconv.ParseFloat(m[3], 64)
		require.NoError(t, err)
		require.NotContains(t, samples, name+"{"+labels+"}", "line %d: twice", i)
		samples[name+"{"+labels+"}"] = value
		require.True(t, strings.HasPrefix(name, "socketup_"), name)
		switch kinds[family] {
		case "histogram":
			require.Regexp(t, "^"+family+"_(bucket|sum|count)$", name)
			require.Regexp(t, "_seconds$", family)
			if le, found := strings.CutPrefix(labels, `le="`); found {
				bound, err := strconv.ParseFloat(strings.TrimSuffix(le, `"`), 64)
				require.NoError(t, err)
				require.Greater(t, bound, lastBound)
				require.GreaterOrEqual(t, value, lastCount, "line %d: buckets are cumulative", i)
				lastBound, lastCount = bound, value
			} else if strings.HasSuffix(name, "_count") {
				require.True(t, math.IsInf(lastBound, 1))
				require.Equal(t, lastCount, value)
			}
		case "counter":
			require.Equal(t, family, name)
			require.Regexp(t, "_total$", name)
		case "gauge":
			require.Equal(t, family, name)
			require.NotRegexp(t, "_(total|count|sum|bucket)$", name)
		default:
			t.Fatalf("line %d: no TYPE: %s", i, line)
		}
	}
	return samples
}

// What /-/metrics counts is what the clients got, with the access log and without it.
func TestMetricsCountResponsesByStatusAndDuration(t *testing.T) {
	t.Parallel()
	s := testutil.ServePolite(t)
	for _, more := range [][]string{nil, {"-access-log"}} {
		cmd, addr, logged := startServing(t, append(more, "-backend", "/b=http://"+s.Addr, "-admin", "127.0.0.1:0")...)
		admin := ""
		for admin == "" {
			line, err := logged.ReadString('\n')
			require.NoError(t, err)
			if m := regexp.MustCompile(`stats=http://(\S+)/-/stats`).FindStringSubmatch(line); m != nil {
				admin = m[1]
			}
		}
		sendAndRead(t, addr, "", "", get("/b/1")+get("/none")+get("/sleep/3ms", closeField))

		got := parseExposition(t, sendAndRead(t, admin, "", "", fmt.Sprintf("GET /-/metrics HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", admin)).wantFramed(t).body)

		assert.Equal(t, 2., got[`socketup_responses_total{code="2xx"}`])
		assert.Equal(t, 1., got[`socketup_responses_total{code="4xx"}`])
		assert.Equal(t, 0., got[`socketup_responses_total{code="none"}`])
		assert.Equal(t, 3., got["socketup_response_duration_seconds_count{}"])
		assert.GreaterOrEqual(t, got["socketup_response_duration_seconds_sum{}"], 0.003)
		assert.Equal(t, 1., got["socketup_backend_response_seconds_count{}"])
		assert.Equal(t, 1., got["socketup_gateway_requests_total{}"])
		assert.Equal(t, 1., got[fmt.Sprintf("socketup_pool_events_total{backend=%q,event=\"dialled\"}", s.Addr)])
		require.NoError(t, cmd.Process.Signal(os.Interrupt))
		require.NoError(t, waitExit(t, cmd))
	}
}

package lab

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// patience bounds each wait of a test; a slow machine needs a part of it.
const patience = 60 * time.Second

// newLab returns a lab that the test's end closes.
func newLab(t *testing.T) *Lab {
	l := New("../..")
	t.Cleanup(l.Close)
	return l
}

// play plays an experiment whose settings are NAME=VALUE.
func play(t *testing.T, l *Lab, name string, settings ...string) Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := l.Start(ctx, name, query(settings...))
	require.NoError(t, err)
	result := r.Result()
	require.Empty(t, result.Error)
	return result
}

func query(settings ...string) url.Values {
	q := url.Values{}
	for _, s := range settings {
		name, value, _ := strings.Cut(s, "=")
		q.Set(name, value)
	}
	return q
}

func TestRequestThatWasReadLosesNothing(t *testing.T) {
	result := play(t, newLab(t), "close", "unread=0", "clients=5", "said=2")

	assert.Equal(t, "You said 2; 5 responses were whole. 0 of 5 connections were reset.", result.Sentence)
	assert.Len(t, result.Events, 5)
}

func TestUnreadBytesResetEachConnection(t *testing.T) {
	result := play(t, newLab(t), "close", "unread=100", "size=4MiB", "clients=5")

	assert.Contains(t, result.Sentence, "5 of 5 connections were reset")
	assert.Less(t, result.Was, 5, "a response of 4 MiB does not fit into the kernels' buffers")
}

func TestDrainingSavesWhatIsUnread(t *testing.T) {
	result := play(t, newLab(t), "close", "unread=100", "how=after-draining", "size=4MiB", "clients=5")

	assert.Equal(t, "5 responses were whole. 0 of 5 connections were reset.", result.Sentence)
}

func TestBacklogLetsInOneMoreThanItSays(t *testing.T) {
	result := play(t, newLab(t), "backlog", "backlog=1", "service=1000", "every=30", "clients=6", "timeout=300", "said=6")

	assert.Contains(t, []int{2, 3}, result.Was, "two wait in the queue, and the server may have accepted one before the last came")
	assert.Equal(t, "You said 6; "+strconv.Itoa(result.Was)+" clients connected with their first SYN. "+
		strconv.Itoa(result.Was)+" of 6 clients were answered, and "+plural(6-result.Was, "SYN was", "SYNs were")+" ignored; "+
		strconv.Itoa(6-result.Was)+" clients gave up.", result.Sentence)
	full := false
	for _, e := range result.Events {
		full = full || e.Who == "accept queue" && e.What == "2 of 2 places taken, FULL"
	}
	assert.True(t, full, "the queue was seen full")
}

func TestIgnoredClientComesBackAfterItsRetransmission(t *testing.T) {
	result := play(t, newLab(t), "backlog", "backlog=0", "service=300", "every=50", "clients=4")

	assert.Contains(t, result.Sentence, "4 of 4 clients were answered")
	assert.Less(t, result.Was, 4)
}

func TestResponsesKeepTheOrderOfTheirRequests(t *testing.T) {
	l := newLab(t)
	for _, driver := range drivers {
		result := play(t, l, "pipeline", "driver="+driver, "depth=4", "a=200", "b=20", "c=20", "d=20")

		var sent []int
		for _, e := range result.Events {
			if e.State == "sent" {
				sent = append(sent, e.Lane)
			}
		}
		assert.Equal(t, []int{1, 2, 3, 4}, sent)
		if driver == "serial" {
			assert.Contains(t, result.Sentence, "at most 1 handler ran at once, and 0 responses were finished while an earlier one was not")
			assert.GreaterOrEqual(t, result.Was, 260)
		} else {
			assert.GreaterOrEqual(t, result.Was, 200)
			assert.Contains(t, result.Sentence, "3 responses were finished while an earlier one was not", "the second, third and fourth")
		}
	}
}

func TestSlotsBoundTheHandlers(t *testing.T) {
	result := play(t, newLab(t), "pipeline", "depth=6", "slots=2", "driver=goroutines", "a=50", "b=50", "c=50", "d=50")

	most := regexp.MustCompile(`at most (\d+) handlers? ran`).FindStringSubmatch(result.Sentence)
	require.NotNil(t, most, result.Sentence)
	n, _ := strconv.Atoi(most[1])
	assert.LessOrEqual(t, n, 2)
}

func TestBackendThatIsNotPausedFailsNobody(t *testing.T) {
	result := play(t, newLab(t), "pool", "pause=0", "idle=1000", "size=3", "callers=9", "said=9")

	assert.Equal(t, "You said 9; 0 requests failed although their connections were checked. Of 9 by each policy there failed: "+
		"reuse unchecked 0, check before reuse 0, drop all when paused 0, check and retry once 0.", result.Sentence)
}

func TestDroppedConnectionsAreNotStale(t *testing.T) {
	result := play(t, newLab(t), "pool", "pause=300", "idle=50", "size=3", "callers=3")

	assert.Contains(t, result.Sentence, "drop all when paused 0, check and retry once 0.")
}

func TestSettingsOutsideTheirBoundsAreRefused(t *testing.T) {
	l := newLab(t)
	for _, c := range []struct{ name, setting, want string }{
		{"backlog", "clients=201", "clients: want a number from 1 to 200"},
		{"backlog", "clients=0", "clients: want a number from 1 to 200"},
		{"backlog", "service=1e9", "service: want a number from 0 to 1000"},
		{"close", "clients=1000", "clients: want a number from 1 to 200"},
		{"close", "size=1GiB", "size: want one of 1KiB, 16KiB, 64KiB, 256KiB, 1MiB, 4MiB"},
		{"pipeline", "driver=loops", "driver: want one of serial, goroutines, loop"},
		{"pool", "callers=51", "callers: want a number from 1 to 50"},
		{"pool", "said=-1", "said: want a number from 0 to 50"},
		{"pool", "sizes=1", `the experiment pool has no setting "sizes"; it has size, idle, pause, callers, said`},
		{"pools", "size=1", ErrUnknown.Error()},
	} {
		_, err := l.Start(t.Context(), c.name, query(c.setting))
		assert.EqualError(t, err, c.want)
	}
}

func TestNoExperimentHasMoreThan200Clients(t *testing.T) {
	high := func(e *experiment, name string) int {
		for _, s := range e.Settings {
			if s.Name == name {
				return s.High
			}
		}
		return 0
	}
	assert.LessOrEqual(t, high(&closing, "clients"), 200)
	assert.LessOrEqual(t, high(&backlog, "clients"), 200)
	assert.LessOrEqual(t, high(&pooling, "callers")*len(policies), 200)
}

func TestRunEndsWhenItsTimeIsOver(t *testing.T) {
	l := newLab(t)
	_, err := l.programs.build(t.Context(), "part2-backlog")
	require.NoError(t, err)
	l.maxTime = 500 * time.Millisecond

	result := play(t, l, "backlog", "backlog=5", "service=1000", "every=0", "clients=3")

	assert.Equal(t, "3 clients connected with their first SYN. 0 of 3 clients were answered, and 0 SYNs were ignored; "+
		"3 still waited when the run was ended after 30s.", result.Sentence)
	assert.Empty(t, children(t))
}

func TestCloseEndsTheRun(t *testing.T) {
	for _, c := range [][]string{
		{"close", "size=4MiB", "clients=200", "how=after-draining"},
		{"backlog", "backlog=0", "service=1000", "clients=50"},
		{"pipeline", "driver=serial", "depth=32", "a=500", "b=500"},
		{"pool", "pause=2000"},
	} {
		l := newLab(t)
		r, err := l.Start(t.Context(), c[0], query(c[1:]...))
		require.NoError(t, err)
		receive(t, r.More())

		l.Close()

		receive(t, r.Ended())
		assert.Equal(t, "There is no result: the run was stopped.", r.Result().Sentence, c[0])
		assert.Empty(t, children(t))
		assert.NoDirExists(t, l.programs.dir)
		_, err = l.Start(t.Context(), c[0], nil)
		assert.ErrorIs(t, err, errStopped)
	}
}

func receive(t *testing.T, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		require.Fail(t, "nothing happens")
	}
}

// children returns the programs of the parts that this test has started and that run.
func children(t *testing.T) (all []string) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range stats {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		parts := regexp.MustCompile(`\((part.*)\) . (\d+) `).FindStringSubmatch(string(text))
		if parts != nil && parts[2] == strconv.Itoa(os.Getpid()) {
			all = append(all, parts[1])
		}
	}
	return all
}

package main

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// A dedupHandler handler writes the same warning or error once a second at most, and
// says then how many it has left out. What goes wrong for every request would else
// fill the disk, and stop the server until the disk has taken it. Lines below a
// warning, such as one for each connection, pass.
type dedupHandler struct {
	slog.Handler
	mu   sync.Mutex
	last map[string]loggedBefore // by message; they are few, for none names a client
}

type loggedBefore struct {
	at         time.Time // when it was written last
	suppressed int       // since then
}

const repeatInterval = time.Second

func newDedupLogger(log *slog.Logger) *slog.Logger {
	return slog.New(&dedupHandler{Handler: log.Handler(), last: map[string]loggedBefore{}})
}

func (q *dedupHandler) Handle(ctx context.Context, line slog.Record) error {
	if line.Level >= slog.LevelWarn {
		leftOut, again := q.suppress(line)
		if again {
			return nil
		}
		if leftOut > 0 {
			line.AddAttrs(slog.Int("left_out", leftOut))
		}
	}
	return q.Handler.Handle(ctx, line)
}

// suppress says whether line is to be left out, and how many were if it is not.
func (q *dedupHandler) suppress(line slog.Record) (leftOut int, again bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	before, known := q.last[line.Message]
	if known && line.Time.Sub(before.at) < repeatInterval {
		before.suppressed++
		q.last[line.Message] = before
		return 0, true
	}
	q.last[line.Message] = loggedBefore{at: line.Time}
	return before.suppressed, false
}

package server

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// A quiet handler writes the same warning or error once a second at most, and
// says then how many it has left out. What goes wrong for every request would else
// fill the disk, and stop the server until the disk has taken it. Lines below a
// warning, such as one for each connection, pass.
type quiet struct {
	slog.Handler
	mu   sync.Mutex
	said map[string]said // by message; they are few, for none names a client
}

type said struct {
	at      time.Time // when it was written last
	leftOut int       // since then
}

const sayAgain = time.Second

func newQuiet(log *slog.Logger) *slog.Logger {
	return slog.New(&quiet{Handler: log.Handler(), said: map[string]said{}})
}

func (q *quiet) Handle(ctx context.Context, line slog.Record) error {
	if line.Level >= slog.LevelWarn {
		leftOut, again := q.repeats(line)
		if again {
			return nil
		}
		if leftOut > 0 {
			line.AddAttrs(slog.Int("left_out", leftOut))
		}
	}
	return q.Handler.Handle(ctx, line)
}

// repeats says whether line is to be left out, and how many were if it is not.
func (q *quiet) repeats(line slog.Record) (leftOut int, again bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	before, known := q.said[line.Message]
	if known && line.Time.Sub(before.at) < sayAgain {
		before.leftOut++
		q.said[line.Message] = before
		return 0, true
	}
	q.said[line.Message] = said{at: line.Time}
	return before.leftOut, false
}

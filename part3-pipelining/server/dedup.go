package server

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// A dedupHandler writes a warning or an error with the same message at most once a second,
// and says how many it has left out since the last one. Otherwise a fault that every
// request hits would fill the disk, and every request would wait for the disk. Records
// below a warning, such as one per connection, always pass.
type dedupHandler struct {
	slog.Handler
	mu   sync.Mutex
	last map[string]loggedBefore // by message; there are few, because no message names a client; guarded by mu
}

type loggedBefore struct {
	at         time.Time // when the message was last written
	suppressed int       // records left out since then
}

const repeatInterval = time.Second

func newDedupLogger(log *slog.Logger) *slog.Logger {
	return slog.New(&dedupHandler{Handler: log.Handler(), last: map[string]loggedBefore{}})
}

func (h *dedupHandler) Handle(ctx context.Context, line slog.Record) error {
	if line.Level >= slog.LevelWarn {
		leftOut, again := h.suppress(line)
		if again {
			return nil
		}
		if leftOut > 0 {
			line.AddAttrs(slog.Int("left_out", leftOut))
		}
	}
	return h.Handler.Handle(ctx, line)
}

// suppress reports whether line must be left out. If not, it returns how many records with
// its message have been left out since the last one.
func (h *dedupHandler) suppress(line slog.Record) (leftOut int, again bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before, known := h.last[line.Message]
	if known && line.Time.Sub(before.at) < repeatInterval {
		before.suppressed++
		h.last[line.Message] = before
		return 0, true
	}
	h.last[line.Message] = loggedBefore{at: line.Time}
	return before.suppressed, false
}

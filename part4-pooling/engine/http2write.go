package engine

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/http2"
	"socketup/part4-pooling/socket"
)

// The writing half of an http2Lane: one goroutine writes all frames, so that a write(2)
// carries whatever has come together while the last one was in progress: requests of many
// clients, pieces of bodies, answers to PINGs.

// proveAfter is how long a connection may be silent before it must prove that it lives. A
// connection that was closed while this process was frozen looks alive until it is used.
const proveAfter = time.Second

// proveWithin is how long the proof may take. Nothing is lost with a connection that has no
// streams, and requests wait for it meanwhile: far less than pool.Limits.MaxWait.
const proveWithin = time.Second

// runWriter writes until the lane ends.
func (l *http2Lane) runWriter() {
	defer close(l.writerDone)
	for {
		select {
		case <-l.wake:
		case <-l.done:
			return
		}
		if err := l.writeAll(); err != nil {
			l.drain()
			l.failAt(time.Now().Add(tickInterval), fmt.Errorf("%w: %w", client.ErrEnded, err)) // what has arrived is read first
			return
		}
	}
}

// writeAll writes until there is nothing to write.
func (l *http2Lane) writeAll() error {
	for {
		if l.lease.ShouldReturn() || l.isUsedUp() {
			l.drain()
		}
		if !l.mustProve(l.backend.hasWork()) {
			l.batch = l.backend.take(l, l.batch[:0])
		}
		l.openStreams(l.batch)
		clear(l.batch)
		l.batch = l.batch[:0]
		l.mu.Lock()
		frames := l.out
		l.out, l.answers = l.spare[:0], 0
		l.changed.Broadcast()
		l.mu.Unlock()
		if l.spare = frames; len(frames) == 0 {
			return nil
		}
		l.backend.m.counts.Writes.Add(1)
		if err := l.write(frames); err != nil {
			return err
		}
		if cap(l.spare) > 2*maxOut { // a large head is rare
			l.spare = nil
		}
	}
}

// isUsedUp reports whether the lane should be replaced by another.
func (l *http2Lane) isUsedUp() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.nextID > http2.MaxWindow || l.resets >= maxResets
}

// maxResets is how many streams we reset on one connection. A backend takes a client that
// resets more for an attacker (CVE-2023-44487), and ends the connection for all who share it:
// nghttp2 after 1,000, Go if 1,000 handlers of such streams wait to be started, Apache httpd
// after fewer. Those that are in flight when the lane is replaced may be reset too.
const maxResets = 100

// write writes all of b. It waits only if the send buffer has no room.
func (l *http2Lane) write(b []byte) error {
	var n int
	err := l.conn.RawConn.Write(func(fd uintptr) bool { n, _ = socket.WriteNow(fd, b); return true })
	if n = max(n, 0); err == nil && n < len(b) {
		var more int
		more, err = l.conn.Write(b[n:], client.DeadlineAfter(l.backend.m.timeouts.Idle))
		n += more
	}
	l.mu.Lock()
	l.written += int64(n)
	l.mu.Unlock()
	if err != nil {
		unix.Shutdown(l.conn.Sysfd, unix.SHUT_WR)
	}
	return err
}

// mustProve reports whether no stream may be opened yet, because the connection was silent
// and must first answer a PING.
func (l *http2Lane) mustProve(work bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if work {
		l.armTick() // if no stream may be opened at all, the jobs expire at a tick
	}
	if work && !l.proving && len(l.streams) == 0 && wallNow().Sub(l.heard) > proveAfter {
		l.proving = true
		l.ping()
	}
	return l.proving
}

// ping sends a PING, unless one is not answered yet. The caller holds the lock.
func (l *http2Lane) ping() {
	if l.pinged.IsZero() {
		l.pinged = wallNow()
		l.enqueue(http2.AppendPing(l.out, false, pingData[:]))
		l.armTick()
		l.wakeUp()
	}
}

var pingData = [8]byte{'s', 'o', 'c', 'k', 'e', 't', 'u', 'p'}

// openStreams opens a stream for each job of batch whose response is still wanted.
func (l *http2Lane) openStreams(batch []*Job) {
	if len(batch) == 0 {
		return
	}
	now := time.Now()
	for _, j := range batch {
		if !j.Sink.Wanted() {
			l.backend.release(l, j)
			l.backend.failWaiting(j, errClientGone)
		} else if !l.openStream(j, now) {
			l.backend.release(l, j)
			l.backend.requeue(j)
		}
	}
}

// openStream sends the head of j on a new stream. It returns false if the lane takes no
// more streams.
func (l *http2Lane) openStream(j *Job, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil || l.nextID > http2.MaxWindow || l.lastID != http2.MaxWindow {
		return false
	}
	s := &stream{lane: l, id: l.nextID, job: j, pump: j.pump, offset: l.queued, sendWindow: l.firstWindow,
		window: l.backend.m.Limits.Window, since: now, uploading: j.upload != nil}
	l.nextID += 2
	l.streams[s.id] = s
	j.moveTo(jobWritten)
	l.enqueue(http2.AppendHeaders(l.out, s.id, l.encodeHead(j), !s.uploading, http2.DefaultMaxFrame))
	if s.pump != nil {
		s.pump.attach(s)
	}
	if s.uploading {
		j.upload.beginOn(s)
	}
	if len(l.streams) == 1 {
		l.armTick()
	}
	return true
}

// encodeHead returns the header block of j's request, valid until the next call. Only the
// writer calls it.
func (l *http2Lane) encodeHead(j *Job) []byte {
	b, q := l.block[:0], j.Request
	if l.blank {
		b = append(b, tableSizeZero)
		l.blank = false
	}
	b = http2.AppendRequestHead(b, q.Method, scheme, q.Host, q.Target)
	for _, f := range q.Fields {
		b = http2.AppendRequestField(b, f.Name, f.Value)
	}
	b = http2.AppendRequestFields(b, q.FieldLines)
	b = appendLength(b, q)
	l.block = b
	return b
}

var scheme = []byte("http")

// tableSizeZero begins our first header block: a dynamic table size update to 0 (RFC 7541
// §6.3). Our encoder uses no dynamic table, whatever size the backend allows.
const tableSizeZero = 0x20

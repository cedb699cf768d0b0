package server

import (
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Clients that send and do not read cannot make the server hold more than PerConnection
// (limits.go), whatever they request and whatever the handlers write.
func TestClientsThatDoNotReadUseBoundedMemory(t *testing.T) {
	skipIfJudging(t)
	const clients = 8
	long := "Long: " + strings.Repeat("a", 15<<10) + "\r\n"
	for name, asked := range map[string]string{
		"responses that fill a slot": get("/exact"),
		"responses after a slow one": get("/slow", long) + strings.Repeat(get("/exact", long), 100),
		"endless responses":          get("/endless", long),
		"uploads":                    post("/upload", strings.Repeat("b", 60<<10)),
	} {
		t.Run(name, func(t *testing.T) {
			block := make(chan struct{})
			r := startServer(t, func(s *Server) { s.Limits.Pipeline, s.Limits.Body = 8, 64<<10 }, withHandler(func(w *Response, r *Request) {
				piece := make([]byte, 1<<10)
				switch string(r.Path) {
				case "/slow":
					<-block
				case "/exact":
					for range maxBuffered / len(piece) {
						w.Write(piece)
					}
				case "/endless":
					for _, err := w.Write(piece); err == nil; _, err = w.Write(piece) {
					}
				case "/upload":
					body, _ := r.Body.ReadAll()
					w.Write(body[:len(body)/2])
				}
			}))
			batch := []byte(strings.Repeat(asked, 1+(1<<20)/len(asked)))
			before := heapInUse()
			stuck := make(chan error, clients)
			for range clients {
				c := dial(t, r.addr)
				go func() { // ends when its write blocks: TCP backpressure
					var err error
					for sent := 0; err == nil && sent < 64<<20; sent += len(batch) {
						c.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
						_, err = c.Write(batch)
					}
					stuck <- err
				}()
			}
			for range clients {
				require.ErrorIs(t, receive(t, stuck, "the server stops reading"), os.ErrDeadlineExceeded)
			}

			held, bound := 0, r.Limits.PerConnection()*5/4                   // a slice that grows has up to a quarter more than it needs
			for end := time.Now().Add(patience()); time.Now().Before(end); { // a slow server may still be working
				if held = int(heapInUse()-before) / clients; held <= bound {
					break
				}
			}
			runtime.KeepAlive(batch) // batch counts in both measurements
			close(block)

			t.Logf("a client that does not read holds %d bytes; the limits say %d", held, bound)
			assert.LessOrEqual(t, held, bound, "house rule: limits.go says what a connection may hold in bytes")
		})
	}
}

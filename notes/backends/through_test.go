package backends

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A rig is a backend behind a gateway, and a client of it.
type rig struct {
	*Backend
	url    string
	client *http.Client
}

func startBackend(t *testing.T, kind string, o Options) *Backend {
	t.Helper()
	b, err := Start(kind, o)
	if errors.Is(err, ErrMissing) {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(b.Close)
	return b
}

func newRig(t *testing.T, b *Backend, gateway string) *rig {
	transport := &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &rig{b, "http://" + gateway, &http.Client{Transport: transport, Timeout: 20 * time.Second}}
}

// do makes a request, and returns the whole response.
func (r *rig) do(method, path string, body []byte, fields ...string) (*http.Response, []byte, error) {
	request, err := http.NewRequest(method, r.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	for i := 0; i < len(fields); i += 2 {
		request.Header.Set(fields[i], fields[i+1])
	}
	return r.send(request)
}

func (r *rig) send(request *http.Request) (*http.Response, []byte, error) {
	response, err := r.client.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	return response, got, err
}

// is asks that a request has this response, and returns it, if there is one.
func (r *rig) is(t *testing.T, method, path string, body []byte, want string) *http.Response {
	t.Helper()
	response, got, err := r.do(method, path, body)
	if assert.NoError(t, err, "%s %s", method, path) && assert.Equal(t, 200, response.StatusCode, "%s %s: %.200q", method, path, got) {
		assert.Equal(t, sum([]byte(want)), sum(got), "%s %s: %d bytes, want %d", method, path, len(got), len(want))
	}
	return response
}

func sum(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }

// requests are asked of each backend that can answer them.
var requests = []struct {
	name, needs string
	ask         func(t *testing.T, r *rig)
}{
	{"GET", "", func(t *testing.T, r *rig) {
		r.is(t, "GET", "/", nil, Hello)
	}},
	{"GET of 3 MiB", "", func(t *testing.T, r *rig) {
		r.is(t, "GET", "/big", nil, string(Big))
	}},
	{"HEAD, and what follows it", "", func(t *testing.T, r *rig) {
		response := r.is(t, "HEAD", "/big", nil, "")
		require.NotNil(t, response)
		assert.EqualValues(t, len(Big), response.ContentLength)
		r.is(t, "GET", "/id/7", nil, ID(7))
	}},
	{"a page that is not there", "", func(t *testing.T, r *rig) {
		response, _, err := r.do("GET", "/nowhere", nil)
		require.NoError(t, err)
		assert.Equal(t, 404, response.StatusCode)
	}},
	{"POST of 3 MiB, which come back", "echo", func(t *testing.T, r *rig) {
		r.is(t, "POST", "/echo", Big, string(Big))
	}},
	{"POST of 3 MiB in chunks", "echo", func(t *testing.T, r *rig) {
		request, err := http.NewRequest("POST", r.url+"/echo", io.MultiReader(bytes.NewReader(Big))) // of unknown length
		require.NoError(t, err)
		response, got, err := r.send(request)
		require.NoError(t, err)
		assert.Equal(t, 200, response.StatusCode)
		assert.Equal(t, sum(Big), sum(got), "%d bytes", len(got))
	}},
	{"POST of nothing", "echo", func(t *testing.T, r *rig) {
		r.is(t, "POST", "/echo", nil, "")
	}},
	{"eight POSTs of 3 MiB at once", "echo", func(t *testing.T, r *rig) {
		r.atOnce(t, 8, func(int) { r.is(t, "POST", "/echo", Big, string(Big)) })
	}},
	{"a POST is seen once", "once", func(t *testing.T, r *rig) {
		response, _, err := r.do("POST", "/once/alone", []byte("alone"))
		require.NoError(t, err)
		assert.Equal(t, 200, response.StatusCode)
		assert.Equal(t, 1, r.Posts()["alone"])
	}},
	{"trailers", "trailers", func(t *testing.T, r *rig) {
		response, got, err := r.do("GET", "/trailers", nil, "TE", "trailers", "Connection", "TE")
		require.NoError(t, err)
		assert.Equal(t, "body\n", string(got))
		assert.Equal(t, `"42"`, response.Trailer.Get("Etag"))
	}},
	{"103", "early", func(t *testing.T, r *rig) {
		var links []string
		request, err := http.NewRequest("GET", r.url+"/early", nil)
		require.NoError(t, err)
		response, got, err := r.send(request.WithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(status int, h textproto.MIMEHeader) error {
				links = append(links, fmt.Sprint(status, " ", h.Get("Link")))
				return nil
			},
		})))
		require.NoError(t, err)
		assert.Equal(t, 200, response.StatusCode)
		assert.Equal(t, Hello, string(got))
		assert.Equal(t, []string{"103 </style.css>; rel=preload"}, links)
	}},
	{"200 at once, each its own", "", func(t *testing.T, r *rig) {
		r.atOnce(t, 200, func(i int) { r.is(t, "GET", fmt.Sprint("/id/", i%IDs), nil, ID(i%IDs)) })
	}},
	{"200 that wait for each other", "meet", func(t *testing.T, r *rig) {
		r.atOnce(t, 200, func(int) { r.is(t, "GET", "/meet/200", nil, Hello) })
	}},
	{"a slow one holds up nobody", "sleep", func(t *testing.T, r *rig) {
		var slow sync.WaitGroup
		began := make(chan struct{})
		var ended atomic.Bool
		slow.Go(func() {
			close(began)
			r.is(t, "GET", "/sleep/1500", nil, Hello)
			ended.Store(true)
		})
		<-began
		for range 20 {
			r.is(t, "GET", "/", nil, Hello)
		}
		assert.False(t, ended.Load(), "the slow one was first")
		slow.Wait()
	}},
}

// atOnce runs f in n goroutines.
func (r *rig) atOnce(t *testing.T, n int, f func(i int)) {
	t.Helper()
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { f(i) })
	}
	all.Wait()
}

func TestRequestsThroughAGateway(t *testing.T) {
	eachGateway(t, func(t *testing.T, gateway func(*testing.T, string) string) {
		for _, kind := range Names {
			t.Run(kind, func(t *testing.T) {
				b := startBackend(t, kind, Options{})
				tap, err := NewTap(b.Addr)
				require.NoError(t, err)
				t.Cleanup(tap.Close)
				r := newRig(t, b, gateway(t, tap.Addr))
				for _, q := range requests {
					if q.needs == "" || Can(kind, q.needs) {
						t.Run(q.name, func(t *testing.T) { q.ask(t, r) })
					}
				}
				assert.Positive(t, tap.Connections.Load())
				assert.Zero(t, tap.Others.Load(), "every connection begins with the preface of HTTP/2")
				t.Logf("%d requests on %d connections", tap.Streams.Load(), tap.Connections.Load())
			})
		}
	})
}

// Traffic is what clients have seen while a backend ended connections.
type traffic struct {
	answered atomic.Int64
	mu       sync.Mutex
	safe     map[string]int // responses to safe requests, by what is wrong with them; "" is right
	posted   map[string]int // status by ID, 0 without a response
}

const clients = 16

// flow lets clients ask until stop is closed: two safe requests, then a POST.
func (r *rig) flow(stop <-chan struct{}) (*traffic, *sync.WaitGroup) {
	tr := &traffic{safe: map[string]int{}, posted: map[string]int{}}
	var all sync.WaitGroup
	for c := range clients {
		all.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if i%3 == 2 {
					r.post(tr, fmt.Sprintf("%d-%d", c, i))
				} else {
					r.safe(tr, (c*7+i)%IDs)
				}
				tr.answered.Add(1)
			}
		})
	}
	return tr, &all
}

func (r *rig) safe(tr *traffic, n int) {
	response, got, err := r.do("GET", fmt.Sprint("/id/", n), nil)
	wrong := ""
	switch {
	case err != nil:
		wrong = "cut: " + err.Error()
	case response.StatusCode != 200:
		wrong = fmt.Sprintf("%d: %s", response.StatusCode, got)
	case string(got) != ID(n):
		wrong = fmt.Sprintf("another body than that of %d: %.20q", n, got)
	}
	tr.mu.Lock()
	tr.safe[wrong]++
	tr.mu.Unlock()
}

func (r *rig) post(tr *traffic, id string) {
	response, _, err := r.do("POST", "/once/"+id, []byte(strings.Repeat("x", 1000)))
	status := 0
	if err == nil {
		status = response.StatusCode
	}
	tr.mu.Lock()
	tr.posted[id] = status
	tr.mu.Unlock()
}

// await waits for n more responses.
func (tr *traffic) await(t *testing.T, n int64) {
	t.Helper()
	n += tr.answered.Load()
	require.Eventually(t, func() bool { return tr.answered.Load() >= n }, 20*time.Second, time.Millisecond, "responses stopped")
}

// judge asks that every safe request was answered as it should, but for some kinds of
// failures if the backend was away, and that no POST was seen twice.
func (tr *traffic) judge(t *testing.T, seen map[string]int, allowed ...string) {
	t.Helper()
	shown := 0
	for wrong, n := range tr.safe {
		kind, _, _ := strings.Cut(wrong, ":")
		if wrong != "" && !slices.Contains(allowed, kind) && shown < 5 {
			shown++
			t.Errorf("%d safe requests: %s", n, wrong)
		}
	}
	assert.Positive(t, tr.safe[""])
	failed := 0
	for id, status := range tr.posted {
		wrong := ""
		switch cut := status == 0 && slices.Contains(allowed, "cut"); {
		case status == 200 && seen[id] == 1:
			continue
		case status == 200, seen[id] > 1:
			wrong = "once was expected"
		case !cut && !slices.Contains([]int{502, 503, 504}, status):
			wrong = "another status was expected"
		}
		failed++
		if wrong != "" && shown < 5 {
			shown++
			t.Errorf("POST %s was answered %d, and seen %d times: %s", id, status, seen[id], wrong)
		}
	}
	t.Logf("%d of the safe requests were right; %d of %d POSTs failed", tr.safe[""], failed, len(tr.posted))
}

func TestRestartUnderLoad(t *testing.T) {
	eachGateway(t, func(t *testing.T, gateway func(*testing.T, string) string) {
		for _, kind := range Names {
			if !Can(kind, "restart") {
				continue
			}
			t.Run(kind, func(t *testing.T) {
				b := startBackend(t, kind, Options{})
				r := newRig(t, b, gateway(t, b.Addr))
				stop := make(chan struct{})
				tr, all := r.flow(stop)
				for range 5 {
					tr.await(t, 300)
					require.NoError(t, b.Restart())
				}
				tr.await(t, 300)
				close(stop)
				all.Wait()

				if Can(kind, "gap") {
					tr.judge(t, b.Posts(), "502", "503", "504", "cut")
				} else {
					tr.judge(t, b.Posts())
				}
			})
		}
	})
}

func TestGoawayUnderLoad(t *testing.T) {
	const each = 50 // requests of a connection
	eachGateway(t, func(t *testing.T, gateway func(*testing.T, string) string) {
		for _, kind := range Names {
			if !Can(kind, "goaway") {
				continue
			}
			t.Run(kind, func(t *testing.T) {
				b := startBackend(t, kind, Options{Requests: each})
				tap, err := NewTap(b.Addr)
				require.NoError(t, err)
				t.Cleanup(tap.Close)
				r := newRig(t, b, gateway(t, tap.Addr))
				stop := make(chan struct{})
				tr, all := r.flow(stop)
				tr.await(t, 3000)
				close(stop)
				all.Wait()

				tr.judge(t, b.Posts())
				assert.Greater(t, tap.Goaways.Load(), int64(10), "connections that ended with GOAWAY")
				t.Logf("%d of %d connections ended with GOAWAY", tap.Goaways.Load(), tap.Connections.Load())
			})
		}
	})
}

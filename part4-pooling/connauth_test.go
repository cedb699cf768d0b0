package main

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/internal/testutil"
	"socketup/part4-pooling/server"
)

const ruleConnAuth = "house rule: a connection that carries connection-based authentication is not used for any other client's request. connauth.go"

// A requestLog records which request arrived on which connection of a backend.
type requestLog struct {
	mu    sync.Mutex
	paths map[int][]string
}

// startChallenging starts a backend that logs its requests and responds to
// /login with a challenge.
func startChallenging(t testing.TB, challenge string) (s *testutil.Server, l *requestLog) {
	l = &requestLog{paths: map[int][]string{}}
	return testutil.ServeResponses(t, func(connection int, r *http.Request) string {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.paths[connection] = append(l.paths[connection], r.URL.Path)
		if r.URL.Path == "/login" {
			return "HTTP/1.1 401 Unauthorized\r\n" + challenge + "Content-Length: 0\r\n\r\n"
		}
		return testutil.Response200(r.URL.Path)
	}), l
}

// sharedWith returns the paths of all requests on the connection that carried
// path.
func (l *requestLog) sharedWith(path string) (all []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, paths := range l.paths {
		if slices.Contains(paths, path) {
			return slices.Clone(paths)
		}
	}
	return nil
}

func TestConnectionWithUserCredentialsIsNotShared(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		credentials string
		shared      bool
	}{
		"NTLM":       {"NTLM TlRMTVNTUAADAAAA", false},
		"NTLM, tab":  {"NTLM\tTlRMTVNTUAADAAAA", false},
		"Negotiate":  {"nEGOTIATE YIIJvwYGKwYBBQUCoIIJsz", false},
		"Basic":      {"Basic bnRsbTpuZWdvdGlhdGU=", true},
		"Negotiates": {"Negotiates x", true},
	} {
		for _, way := range []string{"-backend", "-engine"} {
			t.Run(name+way, func(t *testing.T) {
				t.Parallel()
				s, l := startChallenging(t, "")
				_, addr, _ := startServing(t, way, "http://"+s.Addr, "-backend-connections=1")

				sendAndRead(t, addr, ruleConnAuth, "connauth.go", get("/1")+get("/2")+get("/user", "Authorization: "+c.credentials+"\r\n")+get("/3")+get("/4", closeField)).
					parseBodies(t, 5)
				sendAndRead(t, addr, ruleConnAuth, "connauth.go", post("/other", "x", closeField)).wantPrefix(t, "HTTP/1.1 200 ")

				came := l.sharedWith("/user")
				after := came[1+slices.Index(came, "/user"):]
				if c.shared {
					assert.NotEmpty(t, after, "%s does not authenticate the connection", name)
				} else {
					assert.Empty(t, after, ruleConnAuth)
				}
			})
		}
	}
}

func TestChallengedConnectionIsNotReused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		challenge string
		shared    bool
	}{
		"NTLM":         {"WWW-Authenticate: NTLM\r\n", false},
		"a list":       {"WWW-Authenticate: Basic realm=\"x\", Negotiate\r\n", false},
		"two lines":    {"WWW-Authenticate: Basic realm=\"x\"\r\nWWW-Authenticate: NTLM\r\n", false},
		"proxy's":      {"Proxy-Authenticate: negotiate\r\n", false},
		"Basic":        {"WWW-Authenticate: Basic realm=\"ntlm\"\r\n", true},
		"of no scheme": {"", true},
	} {
		for _, way := range []string{"-backend", "-engine"} {
			t.Run(name+way, func(t *testing.T) {
				t.Parallel()
				s, l := startChallenging(t, c.challenge)
				_, addr, _ := startServing(t, way, "http://"+s.Addr, "-backend-connections=1")

				sendAndRead(t, addr, ruleConnAuth, "connauth.go", get("/login", closeField)).wantPrefix(t, "HTTP/1.1 401 ")
				sendAndRead(t, addr, ruleConnAuth, "connauth.go", get("/other", closeField)).wantPrefix(t, "HTTP/1.1 200 ")

				if came := l.sharedWith("/login"); c.shared {
					assert.Equal(t, []string{"/login", "/other"}, came, "%s does not authenticate the connection", name)
				} else {
					assert.Equal(t, []string{"/login"}, came, ruleConnAuth)
				}
			})
		}
	}
}

// An engine that closes its connection after each challenge must not treat that
// as a failure of the requests after it.
func TestRequestsAfterChallengesAreAnswered(t *testing.T) {
	t.Parallel()
	s, _ := startChallenging(t, "WWW-Authenticate: NTLM\r\n")
	_, addr, _ := startServing(t, "-engine", "http://"+s.Addr)

	all := sendAndRead(t, addr, ruleConnAuth, "http1read.go, finishResponse", strings.Repeat(get("/login"), 7)+get("/login", closeField))

	for _, one := range all.parseAll(t, getMethods(8)...) {
		all.wantSame(t, "the status of a response", "401 Unauthorized", one.status)
	}
}

// A client that sends FIN before it has its response may still want it: HTTP
// allows half-closing. Only with the flag are its requests aborted and their
// backend connections freed.
func TestAbortOnCloseCancelsTheRequest(t *testing.T) {
	if server.DefaultDriver != "loop" {
		t.Skip("-abort-on-close needs -wait loop")
	}
	t.Parallel()
	for _, way := range []string{"-backend", "-engine"} {
		for name, slow := range map[string]string{"GET": get("/slow"), "POST": post("/slow", "x"), "a pipeline": get("/slow") + get("/slow") + get("/slow")} {
			for _, flag := range []bool{true, false} {
				t.Run(name+way+map[bool]string{true: ", asked", false: ", not asked"}[flag], func(t *testing.T) {
					t.Parallel()
					asked, release := make(chan bool, 10), make(chan struct{})
					s := testutil.ServeScript(t, func(c *net.TCPConn, _ int) {
						testutil.ReadRequests(bufio.NewReader(c), func(r *http.Request) bool {
							if r.URL.Path == "/slow" {
								asked <- true
								<-release
							}
							_, err := io.WriteString(c, testutil.Response200("ok"))
							return err == nil
						})
					})
					args := []string{way, "http://" + s.Addr, "-backend-connections=1"}
					if flag {
						args = append(args, "-abort-on-close")
					} else {
						args = append(args, "-backend-wait=100ms")
					}
					_, addr, _ := startServing(t, args...)
					const rule, look = "house rule: -abort-on-close frees the backend connection of a client that has closed; without it a half-closed client gets its response", "loop.go, handleEvent"
					left := converse(t, addr, slow)
					receive(t, asked, "the request of the client that closes")
					require.NoError(t, left.CloseWrite())

					other := sendAndRead(t, addr, rule, look, post("/", "x", closeField))

					close(release)
					gone := transcript{sent: slow, rule: rule, look: look}.readAll(left)
					if flag {
						other.wantPrefix(t, "HTTP/1.1 200 ")
						assert.Empty(t, gone.got, rule)
					} else {
						other.wantPrefix(t, "HTTP/1.1 503 ")
						gone.wantPrefix(t, "HTTP/1.1 200 ")
					}
				})
			}
		}
	}
}

// Over HTTP/2 clients share the connection, so such credentials do not reach the backend.
func TestUserCredentialsAreNotForwardedOverHTTP2(t *testing.T) {
	t.Parallel()
	seen := make(chan string, 10)
	b := startHonest(t, func(w http.ResponseWriter, r *http.Request) { seen <- r.Header.Get("Authorization") })
	r, _ := startStreamGateway(t, b.addr)
	const look = "gateway/streams.go, errConnAuth"

	for _, request := range []string{get("/", "Authorization: NTLM TlRMTVNTUAADAAAA\r\n", closeField), post("/", "x", "Authorization: Negotiate YIIJ\r\n", closeField)} {
		answerTo(converse(t, r.addr, request), request, ruleConnAuth, look).wantPrefix(t, "HTTP/1.1 501 ")
	}
	allowed := get("/", "Authorization: Basic bnRsbTp4\r\n", closeField)
	answerTo(converse(t, r.addr, allowed), allowed, ruleConnAuth, look).wantAnswer(t, "200", "")
	assert.Equal(t, "Basic bnRsbTp4", testutil.Receive(t, seen, "the request of the backend"))
	assert.Empty(t, seen)
}

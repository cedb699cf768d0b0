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

const boundRule = "house rule: what authenticates a connection makes it one user's, and no other request may come on it. bound.go"

// A ledger is what came on which connection of a backend.
type ledger struct {
	mu    sync.Mutex
	paths map[int][]string
}

// keeping is a backend that keeps a ledger, and challenges who asks for /login.
func keeping(t testing.TB, challenge string) (s *testutil.Server, l *ledger) {
	l = &ledger{paths: map[int][]string{}}
	return testutil.Answering(t, func(connection int, r *http.Request) string {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.paths[connection] = append(l.paths[connection], r.URL.Path)
		if r.URL.Path == "/login" {
			return "HTTP/1.1 401 Unauthorized\r\n" + challenge + "Content-Length: 0\r\n\r\n"
		}
		return testutil.Saying(r.URL.Path)
	}), l
}

// beside are the paths that came on the connection of path.
func (l *ledger) beside(path string) (all []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, paths := range l.paths {
		if slices.Contains(paths, path) {
			return slices.Clone(paths)
		}
	}
	return nil
}

func TestConnectionWithAUsersCredentialsCarriesNothingElse(t *testing.T) {
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
				s, l := keeping(t, "")
				_, addr, _ := serving(t, way, "http://"+s.Addr, "-backend-connections=1")

				tell(t, addr, boundRule, "bound.go", get("/1")+get("/2")+get("/user", "Authorization: "+c.credentials+"\r\n")+get("/3")+get("/4", closing)).
					bodies(t, 5)
				tell(t, addr, boundRule, "bound.go", post("/other", "x", closing)).begins(t, "HTTP/1.1 200 ")

				came := l.beside("/user")
				after := came[1+slices.Index(came, "/user"):]
				if c.shared {
					assert.NotEmpty(t, after, "%s says nothing of the connection", name)
				} else {
					assert.Empty(t, after, boundRule)
				}
			})
		}
	}
}

func TestConnectionOnWhichAUserWasChallengedIsNotKept(t *testing.T) {
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
				s, l := keeping(t, c.challenge)
				_, addr, _ := serving(t, way, "http://"+s.Addr, "-backend-connections=1")

				tell(t, addr, boundRule, "bound.go", get("/login", closing)).begins(t, "HTTP/1.1 401 ")
				tell(t, addr, boundRule, "bound.go", get("/other", closing)).begins(t, "HTTP/1.1 200 ")

				if came := l.beside("/login"); c.shared {
					assert.Equal(t, []string{"/login", "/other"}, came, "%s says nothing of the connection", name)
				} else {
					assert.Equal(t, []string{"/login"}, came, boundRule)
				}
			})
		}
	}
}

// An engine that ends its connection behind each challenge must not take that
// for a failure of what comes behind.
func TestRequestsBehindChallengesAreAnswered(t *testing.T) {
	t.Parallel()
	s, _ := keeping(t, "WWW-Authenticate: NTLM\r\n")
	_, addr, _ := serving(t, "-engine", "http://"+s.Addr)

	all := tell(t, addr, boundRule, "pipelined.go, answered", strings.Repeat(get("/login"), 7)+get("/login", closing))

	for _, one := range all.replies(t, gets(8)...) {
		all.same(t, "the status of an answer", "401 Unauthorized", one.status)
	}
}

// A client that closes before its answer, and does not reset, may still want it:
// HTTP lets it close its sending side. Only with the flag its requests are given
// up, and others get the backend connection.
func TestClientThatClosesBeforeItsAnswerIsGivenUpIfAsked(t *testing.T) {
	if server.DefaultWait != "loop" {
		t.Skip("-abort-on-close needs -wait loop")
	}
	t.Parallel()
	for _, way := range []string{"-backend", "-engine"} {
		for name, slow := range map[string]string{"GET": get("/slow"), "POST": post("/slow", "x"), "a pipeline": get("/slow") + get("/slow") + get("/slow")} {
			for _, flag := range []bool{true, false} {
				t.Run(name+way+map[bool]string{true: ", asked", false: ", not asked"}[flag], func(t *testing.T) {
					t.Parallel()
					asked, release := make(chan bool, 10), make(chan struct{})
					s := testutil.Serve(t, func(c *net.TCPConn, _ int) {
						testutil.Requests(bufio.NewReader(c), func(r *http.Request) bool {
							if r.URL.Path == "/slow" {
								asked <- true
								<-release
							}
							_, err := io.WriteString(c, testutil.Saying("ok"))
							return err == nil
						})
					})
					args := []string{way, "http://" + s.Addr, "-backend-connections=1"}
					if flag {
						args = append(args, "-abort-on-close")
					} else {
						args = append(args, "-backend-wait=100ms")
					}
					_, addr, _ := serving(t, args...)
					const rule, look = "house rule: -abort-on-close frees the backend connection of a client that has closed; without it a client that has closed its sending side waits for its answer", "loop.go, hear"
					left := converse(t, addr, slow)
					soon(t, asked, "the request of the client that leaves")
					require.NoError(t, left.CloseWrite())

					other := tell(t, addr, rule, look, post("/", "x", closing))

					close(release)
					gone := story{sent: slow, rule: rule, look: look}.hear(left)
					if flag {
						other.begins(t, "HTTP/1.1 200 ")
						assert.Empty(t, gone.got, rule)
					} else {
						other.begins(t, "HTTP/1.1 503 ")
						gone.begins(t, "HTTP/1.1 200 ")
					}
				})
			}
		}
	}
}

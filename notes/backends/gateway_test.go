package backends

import (
	"bufio"
	"cmp"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// The gateways that the backends are driven through: part 4, unless GATEWAY says otherwise.
//
//	GATEWAY=reverseproxy go -C notes test ./backends
//
// proves that the backends and the tests work. It may fail under load: net/http loses a
// request now and then when httpd restarts.
var gateways = map[string]func(t *testing.T, backend string) (addr string){
	"part4":        startPart4,
	"reverseproxy": startReverseProxy,
}

// eachGateway runs f as a subtest for each of them.
func eachGateway(t *testing.T, f func(t *testing.T, start func(t *testing.T, backend string) string)) {
	for name, start := range gateways {
		if name != cmp.Or(os.Getenv("GATEWAY"), "part4") {
			continue
		}
		t.Run(name, func(t *testing.T) { f(t, start) })
	}
}

func startReverseProxy(t *testing.T, backend string) string {
	transport := &http.Transport{Protocols: new(http.Protocols), DisableCompression: true}
	transport.Protocols.SetUnencryptedHTTP2(true)
	proxy := &httputil.ReverseProxy{
		Transport:     transport,
		FlushInterval: -1,
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: backend}) },
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, err.Error(), http.StatusBadGateway)
		},
		ErrorLog: log.New(io.Discard, "", 0),
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/echo" { // or it cuts the request off when a response begins; elsewhere it may panic for it
			http.NewResponseController(w).EnableFullDuplex()
		}
		proxy.ServeHTTP(w, r)
	})}
	go server.Serve(l) // until Close
	t.Cleanup(func() {
		server.Close()
		transport.CloseIdleConnections()
	})
	return l.Addr().String()
}

var buildPart4 = sync.OnceValues(func() (string, error) {
	program := filepath.Join(scratch, "part4-pooling")
	build := exec.Command("go", "build", "-o", program, "./part4-pooling")
	build.Dir = "../.."
	if text, err := build.CombinedOutput(); err != nil {
		return "", errors.New(string(text))
	}
	return program, nil
})

var scratch string // a directory that TestMain removes

func TestMain(m *testing.M) {
	var err error
	if scratch, err = os.MkdirTemp("", "backends"); err != nil {
		log.Fatal(err)
	}
	code := m.Run()
	os.RemoveAll(scratch)
	os.Exit(code)
}

func startPart4(t *testing.T, backend string) string {
	program, err := buildPart4()
	require.NoError(t, err)
	p := exec.Command(program, "serve", "-addr", "127.0.0.1:0", "-one-client", "-show-backends", "-engine", "h2c://"+backend)
	ownGroup(p)
	var said strings.Builder
	p.Stderr = &said
	out, err := p.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.Start())
	line, _ := bufio.NewReader(out).ReadString('\n')
	addr, found := strings.CutPrefix(strings.TrimSpace(line), "listening on http://")
	if !found {
		p.Wait()
		if strings.Contains(said.String(), "h2c") {
			t.Skip("this part 4 has no -engine h2c:// yet")
		}
		t.Fatalf("part 4 does not start: %s", said.String())
	}
	t.Cleanup(func() {
		p.Process.Kill()
		p.Wait()
		if t.Failed() {
			t.Logf("part 4 said: %.4000s", said.String())
		}
	})
	return addr
}

package main

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"

	"socketup/part4-pooling/gateway"
	"socketup/part4-pooling/internal/testutil"
)

const rulePathConfusion = "house rule: a path that can be read in two ways passes only if both belong to one backend"

// Servers normalize paths differently: to some server each of these paths is
// /admin/x, to another /public/x.
func TestAmbiguousPathIsRefused(t *testing.T) {
	t.Parallel()
	named := func(name string) string {
		return testutil.ServeResponses(t, func(_ int, r *http.Request) string { return testutil.Response200(name + " " + r.RequestURI) }).Addr
	}
	for _, engine := range []bool{false, true} {
		g := gateway.New(newSmallPool(t, 4), []gateway.Backend{{Path: "/public", Addr: named("public"), Engine: engine}, {Path: "/admin", Addr: named("admin"), Engine: engine}, {Path: "/a.b", Addr: named("dotted"), Engine: engine}})
		r := startServer(t, withOffload(g))

		for _, path := range []string{
			"/public/../admin/x", "/public/%2e%2e/admin/x", "/public/.%2E/admin", "/%61dmin/x", "/%70ublic/x", "/x/../public", "/./admin", "/public/..",
			"/public/..%2fadmin/x", "/public%2f../admin/x", "/public/..;/admin/x", "/public/..;a=b/admin", "/public/%2e%2e%3b/admin/x", "/public/..\\admin", "/public/%5c..%5c../admin/x",
			"//admin/x", "/public//../admin/x", "/public/a//../../admin/..;/public/x", "/public/%252e%252e/admin", "/public/..%00/admin", "/public/..%09/admin", "/public/..%20/admin", "/x//../admin", "/admin;a=b/x", "/a%2eb/x", "http://socket.up/public/../admin/x", "http://socket.up/%61dmin?x",
		} {
			s := sendAndRead(t, r.addr, rulePathConfusion, "pathconfusion.go, normalizePath", get(path, closeField))
			s.wantPrefix(t, "HTTP/1.1 400 ")
			s.wantFramed(t)
		}
		for path, want := range map[string]string{
			"/public/x/../y": "public /public/x/../y", "/public/a%2Fb": "public /public/a%2Fb", "/public/%7Eme": "public /public/%7Eme", "/public//x": "public /public//x",
			"/public/a;b=c?d=/../admin": "public /public/a;b=c?d=/../admin", "/a.b/x": "dotted /a.b/x", "/admin/": "admin /admin/", "/administrator/..": "404 Not Found: nothing is at /administrator/..\n",
		} {
			assert.Equal(t, want, sendAndRead(t, r.addr, rulePathConfusion, "pathconfusion.go, normalizePath", get(path, closeField)).wantFramed(t).body, "%s is forwarded unchanged", path)
		}
	}
}

// -engine /e=X is for /e only, not for other paths of the same backend X.
func TestEngineServesItsPathOnly(t *testing.T) {
	t.Parallel()
	back, _, _ := startParallelBackend(t)
	g := gateway.New(newSmallPool(t, 4), []gateway.Backend{{Path: "/p", Addr: back.addr}, {Path: "/e", Addr: back.addr, Engine: true}})
	r := startServer(t, withOffload(g))

	sendAndRead(t, r.addr, "", "", get("/p/1")+get("/p/2", closeField)).wantPrefix(t, "HTTP/1.1 200 ")
	assert.Zero(t, g.EngineCounts.Pushed.Load(), "a request for a path without an engine went through one. reserve.go, OffloadOrReserve")
	sendAndRead(t, r.addr, "", "", get("/e/1")+get("/e/2", closeField)).wantPrefix(t, "HTTP/1.1 200 ")

	assert.EqualValues(t, 2, g.EngineCounts.Pushed.Load())
	awaitEnginesRetired(t, g)
}

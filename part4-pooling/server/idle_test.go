package server

import (
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

const ruleIdleEmptyLines = "house rule: empty lines do not keep an idle connection open"

func TestEmptyLineDoesNotRenewTheIdleTimeout(t *testing.T) {
	t.Parallel()
	const idle = time.Second
	r := startServer(t, func(s *Server) { s.Limits.IdleTime = idle })
	before := r.clock.now()
	c := converse(t, r.addr, get("/"))
	requireRead(t, c, transcript{}, "HTTP/1.1 200 OK\r\n")
	eventually(t, "most of the idle time has passed", func() bool { return r.clock.now() > before+int64(idle)*6/10 })

	io.WriteString(c, "\r\n")

	transcript{rule: ruleIdleEmptyLines, look: "takerequest.go, scanHead"}.readAll(c).wantCleanEnd(t)
	assert.Less(t, time.Duration(r.clock.now()-before), idle*3/2, ruleIdleEmptyLines+"; by the server's clock (takerequest.go, scanHead)")
}

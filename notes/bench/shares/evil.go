package main

import (
	"bufio"
	"net"
	"net/http"
	"path"
)

const evilBackends = 8

// serveEvil starts a backend that belongs to the attacker. It answers what the end of
// the path says (badAnswers), or never.
func (a *assault) serveEvil() (addr string) {
	l, err := net.Listen("tcp4", enemyAddress+":0")
	if err != nil {
		panic(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go a.answerBadly(c)
		}
	}()
	return l.Addr().String()
}

func (a *assault) answerBadly(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	for {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		if bad := badAnswers[path.Base(r.URL.Path)]; bad != nil {
			n, _ := c.Write(bad)
			a.sent.Add(int64(n))
		}
	}
}

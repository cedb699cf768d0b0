// Command reverseproxy is net/http's own reverse proxy as a gateway from $ADDR to
// $BACKEND, so that its judge can be judged.
package main

import (
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"time"
)

func main() {
	backend, err := url.Parse(os.Getenv("BACKEND"))
	if err != nil {
		log.Fatal(err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DialContext = (&net.Dialer{Timeout: time.Second}).DialContext
	transport.DisableCompression = true
	if backend.Scheme == "h2c" {
		backend.Scheme, transport.Protocols = "http", new(http.Protocols)
		transport.Protocols.SetUnencryptedHTTP2(true)
	}
	proxy := &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(backend)
		r.Out.Host = r.In.Host
		r.Out.Header["X-Forwarded-For"] = r.In.Header["X-Forwarded-For"]
		r.SetXForwarded()
	}}
	log.Fatal(http.ListenAndServe(os.Getenv("ADDR"), proxy))
}

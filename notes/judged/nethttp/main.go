// Command nethttp is net/http under the contract of the series, so that the
// judge can be judged.
package main

import (
	"io"
	"log"
	"net/http"
	"os"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // unread, it would reset a connection that the client wants closed
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		io.WriteString(w, "Hello, World!\n")
	})
	log.Fatal(http.ListenAndServe(os.Getenv("ADDR"), nil))
}

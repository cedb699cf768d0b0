// Command routes is net/http with the routes of part 3, so that its judge can be
// judged: no more than its own ServeMux and a few handlers.
package main

import (
	"cmp"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"time"
)

const maxBody = 8 << 20 // bytes

func main() {
	http.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "Hello, World!\n") })
	http.HandleFunc("POST /echo", echo)
	http.HandleFunc("PUT /echo", echo)
	http.HandleFunc("GET /sleep/{duration}", sleep)
	http.HandleFunc("POST /sleep/{duration}", sleep)
	http.HandleFunc("GET /stream/{n}", stream)
	log.Fatal(http.ListenAndServe(os.Getenv("ADDR"), nil))
}

func echo(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength > maxBody {
		http.Error(w, "too long", http.StatusRequestEntityTooLarge)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, long := err.(*http.MaxBytesError); long {
		http.Error(w, "too long", http.StatusRequestEntityTooLarge)
	} else if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	} else {
		w.Header().Set("Content-Type", cmp.Or(r.Header.Get("Content-Type"), "application/octet-stream"))
		w.Write(body)
	}
}

func sleep(w http.ResponseWriter, r *http.Request) {
	d, err := time.ParseDuration(r.PathValue("duration"))
	if err != nil || d < 0 || d > time.Minute {
		http.Error(w, "want a duration up to 60s", http.StatusBadRequest)
		return
	}
	time.Sleep(d)
	fmt.Fprintf(w, "slept %v\n", d)
}

func stream(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(r.PathValue("n"))
	if err != nil || n < 0 {
		http.Error(w, "want a number of lines", http.StatusBadRequest)
		return
	}
	w.(http.Flusher).Flush()
	for i := range n {
		fmt.Fprintf(w, "line %d\n", i+1)
		w.(http.Flusher).Flush()
	}
}

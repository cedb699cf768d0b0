// Command client is net/http's own client for the judge: it reads requests from
// standard input, a method and a URL a line, sends $CALLERS of them at a time, and
// prints a line for each. LACKS=6.4 makes it do all but that step.
package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// lacks is the step that the client does not do.
var lacks = os.Getenv("LACKS")

func main() {
	callers, _ := strconv.Atoi(os.Getenv("CALLERS"))
	patience := 3 * time.Second // with a server that does not shake hands
	switch {
	case lacks == "2.3":
		patience = time.Hour
	case lacks == "6.7":
		callers = 1
	}
	client := &http.Client{Transport: &http.Transport{
		DialContext:         (&net.Dialer{Timeout: patience}).DialContext,
		MaxIdleConnsPerHost: callers,
		MaxConnsPerHost:     callers,
		DisableKeepAlives:   lacks == "6.4",
	}, Timeout: patience + time.Second}
	if lacks == "6.3" {
		client.Timeout = 0
	}
	requests := make(chan string)
	var group sync.WaitGroup
	for range callers {
		group.Go(func() {
			for request := range requests {
				answer := result(client, request)
				if lacks == "6.6" && strings.HasPrefix(answer, "error") {
					answer = result(client, request)
				}
				if lacks == "6.1" {
					request = "the response:"
				}
				fmt.Println(request, answer)
			}
		})
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		requests <- lines.Text()
	}
	close(requests)
	group.Wait()
}

// result sends a request and returns the status and the length of the response, or
// an error.
func result(client *http.Client, request string) string {
	method, url, _ := strings.Cut(request, " ")
	var body io.Reader
	if method == "POST" {
		body = strings.NewReader("body")
	}
	r, err := http.NewRequest(method, url, body)
	if err != nil {
		return "error " + err.Error()
	}
	response, err := client.Do(r)
	if err != nil {
		return "error " + err.Error()
	}
	defer response.Body.Close()
	n, err := io.Copy(io.Discard, response.Body)
	if err != nil && lacks != "6.2" {
		return "error " + err.Error()
	}
	return fmt.Sprint(response.StatusCode, " ", n)
}

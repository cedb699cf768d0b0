package client

import (
	"time"

	"socketup/part4-pooling/http1"
)

// Reading the head of a response: empty lines ahead of it, interim responses
// (RFC 9110 §15.2) and 100 Continue.

// ReadHead waits for the head of the final response to a request with method, and
// parses it. Interim responses go to OnInterim. patience bounds the wait as
// Timeouts.Head says. The errors are ErrEnded, ErrHeadTimeout, ErrTotalTimeout,
// ErrUpload, http1.ErrBadResponse, OnInterim's, and context.Cause.
func (r *Response) ReadHead(method []byte, patience time.Duration) error {
	l, looked, interim := r.Conn, 0, 0
	for {
		l.SkipEmptyLines()
		b := l.Buf[l.R:l.W]
		n := http1.HeadLength(b, looked)
		if n > 0 && n <= MaxHead { // a head in one packet has the same limit as a head in two
			if err := r.Parse(b[:n], method); err != nil {
				return err
			}
			l.emptyLines = 0
			if l.R += n; r.Status >= 200 {
				break
			} else if interim++; interim > maxInterimResponses {
				return http1.BadResponse("too many interim responses")
			} else if err := r.handleInterim(); err != nil {
				return err
			}
			l.W = copy(l.Buf, l.Buf[l.R:l.W]) // so that the final head leaves room for its body
			l.R, looked = 0, 0
			continue
		}
		if err := checkPartialHead(b, looked); err != nil && !l.IsQuiet() {
			return err
		}
		looked = len(b)
		if err := r.waitForHead(patience); err != nil {
			return r.wrapEOF(err, ErrEnded)
		}
	}
	l.HeadEnd = l.R
	r.beginBody()
	return nil
}

// waitForHead waits for more of the head. While the request body is held for 100
// Continue it waits only for continueTimeout, and then sends the body without the
// server's permission (RFC 9110 §10.1.1).
func (r *Response) waitForHead(patience time.Duration) error {
	if r.heldRequest == nil {
		return r.waitRead(patience, ErrHeadTimeout)
	}
	wait := r.continueTimeout
	if patience > 0 {
		wait = min(wait, patience)
	}
	err := r.waitRead(wait, ErrHeadTimeout)
	if err == ErrHeadTimeout {
		r.waitingSince = time.Time{} // the head's timeout begins when the body has been sent
		r.startUpload(r.heldRequest)
		return nil
	}
	return err
}

// handleInterim handles an interim response. 100 Continue starts the held body;
// all others go to OnInterim.
func (r *Response) handleInterim() error {
	switch {
	case r.Status == 100 && r.heldRequest != nil:
		r.startUpload(r.heldRequest)
	case r.OnInterim != nil:
		began := time.Now()
		err := r.OnInterim(r) // may block on the client; the server is not charged for that time
		if !r.waitingSince.IsZero() {
			r.waitingSince = r.waitingSince.Add(time.Since(began))
		}
		return err
	}
	return nil
}

// checkPartialHead rejects a head that is incomplete but already malformed.
func checkPartialHead(b []byte, from int) error {
	const begins = "HTTP/1."
	if n := min(len(b), len(begins)); string(b[:n]) != begins[:n] {
		return http1.BadResponse("it does not begin with HTTP/1.")
	}
	if refused := http1.CheckPartialHead(b, from, MaxHead); refused != nil {
		return http1.BadResponse(refused.Detail)
	}
	return nil
}

// beginBody prepares the decoder for the body.
func (r *Response) beginBody() {
	const maxBody, maxTrailers = 1<<63 - 1, 8 << 10 // bytes: any length; of the trailer section
	length := r.Length
	if length == http1.UntilClose {
		length = maxBody
	}
	r.BodyDecoder, _ = http1.NewBodyDecoder(length, maxBody, maxTrailers)
}

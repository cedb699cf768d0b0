package http1

import "bytes"

// NTLM and Negotiate break a rule of HTTP: they authenticate a connection, and
// not each request on it (RFC 4559 §6). What is sent on such a connection later
// is done in the name of its user, be it another client's request. So a
// connection on which one of the two is spoken is bound to the exchange: it
// carries no other request, beside it or after it.
//
// Negotiate with a Kerberos ticket needs one request, and works. NTLM needs three
// on one connection, and cannot succeed through this gateway.

// IsConnAuth says whether a list of challenges or credentials names such a scheme. A
// parameter that looks like one costs a connection, no more.
func IsConnAuth(list []byte) bool {
	for member := range bytes.SplitSeq(list, []byte(",")) {
		scheme := TrimSpace(member)
		scheme = scheme[:Span(scheme, TokenByte)]
		if EqualFold(scheme, "ntlm") || EqualFold(scheme, "negotiate") {
			return true
		}
	}
	return false
}

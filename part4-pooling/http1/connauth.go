package http1

import "bytes"

// NTLM and Negotiate authenticate a connection, where HTTP authenticates each
// request (RFC 4559 §6). The server runs every later request on that connection
// in the name of the same user, even a request that a gateway forwards for another
// client. So a connection on which either scheme appears carries that one exchange
// and is closed.
//
// Negotiate with a Kerberos ticket needs one request, and works. NTLM needs three
// requests on one connection, and cannot succeed through this gateway.

// IsConnAuth reports whether list, the value of a WWW-Authenticate,
// Proxy-Authenticate, Authorization or Proxy-Authorization field, names NTLM or
// Negotiate. A parameter that looks like one of them is taken for it: the mistake
// costs one connection.
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

package gateway

import (
	"bytes"

	"socketup/part4-pooling/http1"
)

// What a request says of its own way, a backend believes because its gateway
// says so. So it is the gateway that says it: the addresses of X-Forwarded-For and
// Forwarded may begin with what the client says, for they end with what we know;
// whatever has one value is ours (build, in forwarding.go), or not passed at all.

// A proxyField is a field that a client has no right to send, unless it is a proxy that
// we stand behind (-behind-proxy).
type proxyField int

const (
	notProxyField proxyField = iota
	forwardedHost            // X-Forwarded-Host
	forwardedProto
	realIP
	otherProxyField // what we do not say ourselves
	numProxyFields
)

// classifyField tells which claim a field is. Some programs take a path from
// X-Original-URL or X-Rewrite-URL: then the backend was chosen by another.
func classifyField(name []byte) proxyField {
	switch {
	case len(name) < 9:
		return notProxyField
	case http1.EqualFold(name, "x-forwarded-host"):
		return forwardedHost
	case http1.EqualFold(name, "x-forwarded-proto"):
		return forwardedProto
	case http1.EqualFold(name, "x-real-ip"):
		return realIP
	case http1.EqualFold(name[:9], "x-forward"):
		return otherProxyField
	}
	for _, other := range otherProxyFields[len(name)%len(otherProxyFields)] {
		if http1.EqualFold(name, other) {
			return otherProxyField
		}
	}
	return notProxyField
}

var otherProxyFields = indexByLength(
	"x-client-ip", "client-ip", "true-client-ip", "x-cluster-client-ip", "cf-connecting-ip", "fastly-client-ip", "wl-proxy-client-ip",
	"x-remote-ip", "x-proxyuser-ip", "x-envoy-external-address", "x-original-forwarded-for",
	"x-original-host", "x-original-url", "x-original-method", "x-rewrite-url", "x-url-scheme", "front-end-https", "ssl-client-cert", "x-ssl-client-verify", "x-ssl-client-cert",
)

// isDisguised says whether a program behind CGI could take a field for another one.
// It sees Proxy as HTTP_PROXY, which many libraries take for the address of a
// proxy to use (httpoxy, CVE-2016-5385); and X_Real_IP as it sees X-Real-IP, for
// CGI writes hyphens as underscores, and some servers all but letters and digits.
func isDisguised(name []byte) bool {
	for _, c := range name {
		if !fieldNameByte[c] {
			return true
		}
	}
	return len(name) == len("proxy") && http1.EqualFold(name, "proxy")
}

var fieldNameByte = http1.ByteSetOf("-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")

// isAddressList says whether value can be a list of addresses, as X-Forwarded-For has
// them: nothing in it can swallow what we put behind it.
func isAddressList(value []byte) bool {
	for _, c := range value {
		if !addressListByte[c] {
			return false
		}
	}
	return true
}

var addressListByte = http1.ByteSetOf(" \t,.:[]-_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")

// validForwarded says whether value is what RFC 7239 §4 wants: elements with
// commas between them, which are name=value with semicolons between them, where
// the value is a token or a quoted string. Behind an open quote our own element
// would be a part of the client's.
func validForwarded(value []byte) bool {
	for rest := value; ; rest = rest[1:] {
		if rest = http1.TrimLeadingSpace(rest); len(rest) > 0 && rest[0] != ',' && rest[0] != ';' {
			if rest = skipForwardedPair(rest); rest == nil {
				return false
			}
		}
		if rest = http1.TrimLeadingSpace(rest); len(rest) == 0 {
			return true
		} else if rest[0] != ',' && rest[0] != ';' {
			return false
		}
	}
}

// skipForwardedPair returns what is behind token "=" ( token / quoted-string ), nil without one.
func skipForwardedPair(b []byte) (rest []byte) {
	name, b, found := bytes.Cut(b, []byte("="))
	if !found || !isToken(name) {
		return nil
	}
	if len(b) == 0 || b[0] != '"' {
		end := bytes.IndexAny(b, ",; \t")
		if end < 0 {
			end = len(b)
		}
		if !isToken(b[:end]) {
			return nil
		}
		return b[end:]
	}
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return b[i+1:]
		}
	}
	return nil
}

func isToken(b []byte) bool {
	for _, c := range b {
		if !http1.TokenByte[c] {
			return false
		}
	}
	return len(b) > 0
}

package gateway

import (
	"bytes"

	"socketup/part4-pooling/http1"
)

// Fields that proxies add. A backend trusts what they say about the client, so the
// gateway must not let the client write them. Lists (X-Forwarded-For, Forwarded) may
// begin with what the client sent, because the gateway appends what it knows itself. A
// field with a single value is set by the gateway (build, in forwarding.go) or removed.

// A proxyField classifies a field that only a proxy may set. Clients may send it only
// with -behind-proxy, which declares that every client is a trusted proxy.
type proxyField int

const (
	notProxyField   proxyField = iota
	forwardedHost              // X-Forwarded-Host
	forwardedProto             // X-Forwarded-Proto
	realIP                     // X-Real-IP
	otherProxyField            // one that the gateway does not set itself
	numProxyFields
)

// classifyField returns the class of a field; name may be in any case. (X-Original-URL
// and X-Rewrite-URL are proxy fields because some frameworks take the path from them: a
// client could then reach a path for which the gateway would choose another backend.)
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

// isDisguised reports whether a CGI program could mistake a field for another one. CGI
// passes Proxy as HTTP_PROXY, which many libraries use as the address of a proxy
// (httpoxy, CVE-2016-5385). It passes X_Real_IP and X-Real-IP under one name, because it
// replaces hyphens by underscores (RFC 3875 §4.1.18); some servers replace everything
// except letters and digits.
func isDisguised(name []byte) bool {
	for _, c := range name {
		if !fieldNameByte[c] {
			return true
		}
	}
	return len(name) == len("proxy") && http1.EqualFold(name, "proxy")
}

var fieldNameByte = http1.ByteSetOf("-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")

// isAddressList reports whether value has only characters of an X-Forwarded-For list.
// None of them, such as a quote, can absorb the address that the gateway appends.
func isAddressList(value []byte) bool {
	for _, c := range value {
		if !addressListByte[c] {
			return false
		}
	}
	return true
}

var addressListByte = http1.ByteSetOf(" \t,.:[]-_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")

// validForwarded reports whether value matches the grammar of RFC 7239 §4: elements
// separated by commas, each of name=value pairs separated by semicolons, where a value is
// a token or a quoted string. After an unclosed quote the gateway's own element would
// become part of the client's.
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

// skipForwardedPair returns what follows token "=" ( token / quoted-string ), or nil if b
// does not begin with such a pair.
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

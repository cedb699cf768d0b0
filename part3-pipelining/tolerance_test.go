package main

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// What a server may do that ours does not. The judge accepts it.

// parseUntilClose is parseAll for responses of which any may be the connection's
// last: a server may close after each, if it says so. Ours may not.
func (s transcript) parseUntilClose(t testing.TB, methods ...string) (all []parsedResponse) {
	t.Helper()
	if os.Getenv("SERVER") == "" {
		return s.parseAll(t, methods...)
	}
	rest := s.got
	for i, method := range methods {
		one := s.rest(rest, i, len(methods))
		r := one.parse(t)
		r.body, rest = one.splitBody(t, r, method)
		all = append(all, r)
		if strings.EqualFold(r.fields["connection"], "close") {
			break
		}
	}
	if rest != "" {
		s.fail(t, len(s.got)-len(rest), "there is something after the last response")
	}
	return all
}

// wantSameNext requires the first of next, if there is one, to have this body.
func (s transcript) wantSameNext(t testing.TB, what, want string, next []parsedResponse) {
	t.Helper()
	if len(next) > 0 {
		s.wantSame(t, what, want, next[0].body)
	}
}

// wantSameMethods requires an Allow field to list the methods in want, in any order
// (RFC 9110 §10.2.1).
func (s transcript) wantSameMethods(t testing.TB, want, got string) {
	t.Helper()
	if !slices.Equal(sortedMethods(want), sortedMethods(got)) {
		s.wantSame(t, "Allow", want, got)
	}
}

func sortedMethods(list string) (methods []string) {
	for method := range strings.SplitSeq(list, ",") {
		methods = append(methods, strings.Trim(method, " \t"))
	}
	slices.Sort(methods)
	return methods
}

package main

import (
	"errors"
	"flag"
	"io"
	"log/slog"
)

// A logFormat is how log lines look: "text" or "json".
type logFormat string

// String implements flag.Value.
func (f *logFormat) String() string { return string(*f) }

// Set implements flag.Value.
func (f *logFormat) Set(text string) error {
	if text != "text" && text != "json" {
		return errors.New("want text or json")
	}
	*f = logFormat(text)
	return nil
}

// logFormatFlag defines the flag -log-format.
func logFormatFlag(flags *flag.FlagSet) *logFormat {
	format := logFormat("text")
	flags.Var(&format, "log-format", "`FORMAT` of the log on stderr: text, or json with one object a line")
	return &format
}

// newLogger returns a logger that writes to w. It leaves out fields that have no value,
// such as the error of a request without one.
func newLogger(w io.Writer, format logFormat) *slog.Logger {
	options := &slog.HandlerOptions{ReplaceAttr: func(_ []string, field slog.Attr) slog.Attr {
		if field.Value.Kind() == slog.KindAny && field.Value.Any() == nil {
			return slog.Attr{}
		}
		return field
	}}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

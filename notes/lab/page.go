package lab

import (
	_ "embed"
	"html/template"
	"strings"

	"socketup/part3-pipelining/server"
)

var (
	// CSS is /lab.css. It uses the colours of the book's stylesheet, and has its own
	// where there is none.
	//go:embed assets/lab.css
	CSS string
	// JS is /lab.js, which plays the experiments of the Fragment.
	//go:embed assets/lab.js
	JS string

	//go:embed assets/lab.html
	fragmentText string
	fragment     = template.Must(template.New("lab").Parse(fragmentText))
)

// Head is what the head of a page must have that has the Fragment in its body.
const Head = `<link rel="stylesheet" href="lab.css">
<script src="lab.js" defer></script>
`

// Fragment returns the lab as a part of a page: what is inside its main element. It is the
// same at every call.
func Fragment() string {
	var b strings.Builder
	if err := fragment.Execute(&b, experiments); err != nil {
		panic(err) // the template is a constant
	}
	return b.String()
}

// ServePage is a handler that responds with the Page.
func ServePage(w *server.Response, r *server.Request) {
	static("text/html; charset=utf-8", Page())(w, r)
}

// Page returns the lab as a page of its own, /lab.html: the Fragment without a book.
func Page() string {
	return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>The lab — HTTP, from the socket up</title>
<link rel="icon" href="data:,">
` + Head + `</head>
<body class="lab-alone">
<main>
` + Fragment() + `</main>
</body>
</html>
`
}

// Defaults returns the command for the experiment as the page shows it first.
func (e *experiment) Defaults() string {
	v, _, _ := e.parse(nil)
	return e.Command(v)
}

// DefaultParts returns the parts' own commands for it.
func (e *experiment) DefaultParts() []string {
	v, _, _ := e.parse(nil)
	return e.Parts(v)
}

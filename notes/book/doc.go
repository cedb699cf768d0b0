// Package book makes a web book and an EPUB of the series: a page for each chapter,
// for each page of reference and for each source file that they name, with links
// between them, and a search that works without a server.
//
//	b, err := book.Load(root)
//	files, err := b.Site(book.Options{})
//
// A page needs no JavaScript to be read, and asks for nothing but files beside it.
package book

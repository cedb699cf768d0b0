package book

import (
	"archive/zip"
	"bytes"
	"encoding/xml"
	"io"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// unpack returns the files of the real book's EPUB, and their names in order.
func unpack(t *testing.T) (files map[string][]byte, names []string) {
	site, err := theSite()
	require.NoError(t, err)
	epub := site[epubName]
	archive, err := zip.NewReader(bytes.NewReader(epub), int64(len(epub)))
	require.NoError(t, err)
	files = map[string][]byte{}
	for _, f := range archive.File {
		r, err := f.Open()
		require.NoError(t, err)
		files[f.Name], err = io.ReadAll(r)
		require.NoError(t, err)
		names = append(names, f.Name)
	}
	assert.Equal(t, "mimetypeapplication/epub+zip", string(epub[30:58]), "what a program sees first")
	return files, names
}

func TestEPUBIsWellFormedXML(t *testing.T) {
	files, names := unpack(t)

	assert.Equal(t, "mimetype", names[0])
	for name, text := range files {
		if ext := path.Ext(name); ext != ".xhtml" && ext != ".xml" && ext != ".opf" && ext != ".svg" {
			continue
		}
		decoder := xml.NewDecoder(bytes.NewReader(text)) // strict: it knows five entities, and wants each element closed
		var err error
		for err == nil {
			_, err = decoder.Token()
		}
		assert.Equal(t, io.EOF, err, name)
	}
}

func TestEPUBHasWhatItLists(t *testing.T) {
	files, _ := unpack(t)
	var opf struct {
		Items []struct {
			ID   string `xml:"id,attr"`
			Href string `xml:"href,attr"`
			Kind string `xml:"media-type,attr"`
		} `xml:"manifest>item"`
		Spine []struct {
			ID string `xml:"idref,attr"`
		} `xml:"spine>itemref"`
	}
	require.NoError(t, xml.Unmarshal(files["book/content.opf"], &opf))
	listed := map[string]bool{}
	for _, item := range opf.Items {
		assert.Contains(t, files, "book/"+item.Href)
		assert.False(t, listed[item.ID], item.ID)
		listed[item.ID], listed["book/"+item.Href] = true, true
	}
	for _, ref := range opf.Spine {
		assert.True(t, listed[ref.ID], ref.ID)
	}
	for name := range files {
		if strings.HasPrefix(name, "book/") && name != "book/content.opf" {
			assert.True(t, listed[name], "%s is in no list", name)
		}
	}
}

func TestEPUBLinksStayInside(t *testing.T) {
	files, _ := unpack(t)
	for name, text := range files {
		if path.Ext(name) != ".xhtml" {
			continue
		}
		for _, m := range reference.FindAllSubmatch(text, -1) {
			to := string(m[1])
			if strings.Contains(to, "://") {
				continue
			}
			file, id, hasID := strings.Cut(to, "#")
			if file = "book/" + file; to[0] == '#' {
				file = name
			}
			assert.Contains(t, files, file, "%s links to %s", name, to)
			assert.True(t, !hasID || bytes.Contains(files[file], []byte(`id="`+id+`"`)), "%s links to %s", name, to)
		}
	}
}

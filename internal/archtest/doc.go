// Package archtest holds the project's rules of structure, as checks that its tests
// run over the whole tree: which package may import which, who may read a clock,
// how long a file may be. The rules and their reasons are in docs/architecture.md.
//
// A check is a function from source to faults, so that each can be shown to find a
// planted violation: a checker that finds nothing is otherwise no news.
package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// module is the path of the project's module.
const module = "vrouterd"

// Source is one Go file.
type Source struct {
	Path   string // from the project's root, with slashes
	Text   string
	syntax *ast.File
	set    *token.FileSet
}

// Fault is a broken rule, and where.
type Fault struct {
	Path string
	Line int
	Says string // one sentence
}

func (f Fault) String() string { return fmt.Sprintf("%s:%d: %s", f.Path, f.Line, f.Says) }

// Parse makes a Source of a file's text.
func Parse(name, text string) (Source, error) {
	set := token.NewFileSet()
	syntax, err := parser.ParseFile(set, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return Source{}, fmt.Errorf("parsing %s: %w", name, err)
	}
	return Source{Path: name, Text: text, syntax: syntax, set: set}, nil
}

// Load reads every Go file below the project's root, tests included; hidden folders
// and testdata apart.
func Load(root string) ([]Source, error) {
	var all []Source
	err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() {
			if file != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "bin") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		source, err := Parse(filepath.ToSlash(relative), string(text))
		if err != nil {
			return err
		}
		all = append(all, source)
		return nil
	})
	return all, err
}

// Test reports whether the file is part of the tests.
func (s Source) Test() bool { return strings.HasSuffix(s.Path, "_test.go") }

// Package is the import path without the module: internal/packet.
func (s Source) Package() string { return path.Dir(s.Path) }

// imports are the imported paths with their lines.
func (s Source) imports() map[string]int {
	found := map[string]int{}
	for _, spec := range s.syntax.Imports {
		found[strings.Trim(spec.Path.Value, `"`)] = s.set.Position(spec.Pos()).Line
	}
	return found
}

// fault makes a Fault at a node.
func (s Source) fault(n ast.Node, format string, args ...any) Fault {
	return Fault{Path: s.Path, Line: s.set.Position(n.Pos()).Line, Says: fmt.Sprintf(format, args...)}
}

// under reports whether a package is the given one or stands below it.
func under(pkg, parent string) bool { return pkg == parent || strings.HasPrefix(pkg, parent+"/") }

package archtest

import (
	"fmt"
	"go/ast"
	"path"
	"regexp"
	"slices"
	"strings"
)

// maxLines is how long a file may be before it is split by topic.
const maxLines = 600

// Shape finds files that are too long, unfinished notes, init functions and package names
// that say nothing.
func Shape(s Source) (faults []Fault) {
	lines := strings.Split(s.Text, "\n")
	if n := len(lines); n > maxLines+1 {
		faults = append(faults, Fault{s.Path, n, fmt.Sprintf("the file has %d lines: past %d split it by topic", n-1, maxLines)})
	}
	// The words are put together so that this file does not hold them.
	unfinished := regexp.MustCompile(`\b(` + strings.Join([]string{"TO" + "DO", "FIX" + "ME", "XX" + "X"}, "|") + `)\b`)
	for i, line := range lines {
		if word := unfinished.FindString(line); word != "" {
			faults = append(faults, Fault{s.Path, i + 1, "the note " + word + ": do it, or say in words what is missing and why"})
		}
	}
	for _, d := range s.syntax.Decls {
		if f, is := d.(*ast.FuncDecl); is && f.Recv == nil && f.Name.Name == "init" {
			faults = append(faults, s.fault(f, "an init function: let main, or a constructor, do it"))
		}
	}
	for _, name := range []string{s.syntax.Name.Name, path.Base(s.Package())} {
		if slices.Contains([]string{"util", "utils", "common", "helper", "helpers", "manager", "misc"}, strings.TrimSuffix(name, "_test")) {
			faults = append(faults, s.fault(s.syntax.Name, "a package called %s says nothing about what is in it", name))
		}
	}
	return faults
}

// Named finds test names in a document that no test has.
func Named(document, text string, sources []Source) (faults []Fault) {
	known := map[string]bool{}
	for _, s := range sources {
		if !s.Test() {
			continue
		}
		for _, d := range s.syntax.Decls {
			if f, is := d.(*ast.FuncDecl); is && f.Recv == nil {
				known[f.Name.Name] = true
			}
		}
	}
	names := regexp.MustCompile(`\b(?:Test|Fuzz|Benchmark)[A-Z0-9][A-Za-z0-9_]*`)
	for i, line := range strings.Split(text, "\n") {
		for _, name := range names.FindAllString(line, -1) {
			if !known[name] {
				faults = append(faults, Fault{document, i + 1, "no test is called " + name})
			}
		}
	}
	return faults
}

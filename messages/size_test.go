package messages_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The package is the contract with programs of others, who read all of it. Its bounds are
// in DEVELOPMENT.md.
const (
	maxCodeLines = 1000
	maxExported  = 75
)

// TestSize holds the package to its bounds: lines of code without comments, and names at
// package level.
func TestSize(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	exported := map[string]bool{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(source)) {
			if text := strings.TrimSpace(line); text != "" && !strings.HasPrefix(text, "//") {
				lines++
			}
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, source, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, declaration := range parsed.Decls {
			for _, name := range declared(declaration) {
				if ast.IsExported(name) {
					exported[name] = true
				}
			}
		}
	}
	if lines > maxCodeLines {
		t.Errorf("lines of code: got %d, want at most %d", lines, maxCodeLines)
	}
	if len(exported) > maxExported {
		t.Errorf("exported names: got %d, want at most %d", len(exported), maxExported)
	}
}

// declared returns the names that a declaration adds to the package.
func declared(declaration ast.Decl) (names []string) {
	switch d := declaration.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			names = append(names, d.Name.Name)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				names = append(names, s.Name.Name)
			case *ast.ValueSpec:
				for _, name := range s.Names {
					names = append(names, name.Name)
				}
			}
		}
	}
	return names
}

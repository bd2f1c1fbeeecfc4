package archtest

import (
	"go/ast"
	"slices"
	"strings"
)

// clock are the functions of package time that read or wait for it.
func clock() []string {
	return []string{"Now", "Since", "Until", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker", "Sleep"}
}

// clockless are the packages that get the time as a parameter, so that a run is
// repeatable: everything below internal/router.
func clockless() []string {
	return []string{"pkg", "internal/rib", "internal/reassembly", "internal/packet", "internal/order", "internal/rcu"}
}

// pure are the packages that, besides, know no socket, no lock and no log.
func pure() []string {
	return []string{
		"pkg/arp", "pkg/rip", "pkg/dhcp", "pkg/dns", "pkg/dataplane/fib",
		"internal/rib", "internal/reassembly", "internal/order",
	}
}

// atomic are those of them that are read while they change.
func atomic() []string { return []string{"pkg/dataplane/fib"} }

// impure are imports that a pure package must not have.
func impure() []string {
	return []string{"net", "net/http", "os", "os/exec", "sync", "sync/atomic", "syscall", "log", "log/slog", "context", "golang.org/x/sys/unix"}
}

// Purity finds clocks, sockets, locks, logs and goroutines in packages that must do without.
func Purity(s Source) (faults []Fault) {
	in := func(list []string) bool {
		return slices.ContainsFunc(list, func(p string) bool { return under(s.Package(), p) })
	}
	if s.Test() {
		return nil
	}
	if in(pure()) {
		for imported, line := range s.imports() {
			if slices.Contains(impure(), imported) && !(imported == "sync/atomic" && in(atomic())) {
				faults = append(faults, Fault{s.Path, line, s.Package() + " is a pure machine and must not import " + imported})
			}
		}
		ast.Inspect(s.syntax, func(n ast.Node) bool {
			if g, is := n.(*ast.GoStmt); is {
				faults = append(faults, s.fault(g, "%s is a pure machine and must not start a goroutine", s.Package()))
			}
			return true
		})
	}
	if in(clockless()) {
		faults = append(faults, calls(s, "time", clock(), "%s gets the time as a parameter and must not call time.%s")...)
	}
	return faults
}

// calls finds the uses of a package's functions by name.
func calls(s Source, pkg string, names []string, says string) (faults []Fault) {
	local := pkg
	for _, spec := range s.syntax.Imports {
		if strings.Trim(spec.Path.Value, `"`) == pkg && spec.Name != nil {
			local = spec.Name.Name
		}
	}
	ast.Inspect(s.syntax, func(n ast.Node) bool {
		selector, is := n.(*ast.SelectorExpr)
		if !is {
			return true
		}
		if x, is := selector.X.(*ast.Ident); is && x.Name == local && slices.Contains(names, selector.Sel.Name) {
			faults = append(faults, s.fault(selector, says, s.Package(), selector.Sel.Name))
		}
		return true
	})
	return faults
}

// Waits finds tests that sleep or skip: a test polls to a deadline, and a missing
// privilege or peer fails it.
func Waits(s Source) (faults []Fault) {
	if !s.Test() {
		return nil
	}
	faults = calls(s, "time", []string{"Sleep"}, "a test of %s must poll to a deadline, not call time.%s")
	for _, name := range []string{"t", "b", "f", "tb"} {
		faults = append(faults, calls(s, name, []string{"Skip", "Skipf", "SkipNow"}, "a test of %s must fail or run, not call %s")...)
	}
	return faults
}

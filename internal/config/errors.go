package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// errorsShown is how many errors are printed; the first ones of a file are
// enough to mend, and a wrong file of 16 MiB must not fill a terminal.
const errorsShown = 50

// Error is one thing that is wrong in a configuration. Line and Column count
// from 1; the column counts characters.
type Error struct {
	File    string
	Line    int
	Column  int
	Message string // lower case, without a full stop; says what would be right
}

func (e Error) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Message)
}

// Errors is everything that is wrong in one configuration, in the order of the
// text.
type Errors []Error

// Error prints one error a line, the first 50 of them, and says how many more there are.
func (e Errors) Error() string {
	var b strings.Builder
	for i, one := range e {
		if i > 0 {
			b.WriteByte('\n')
		}
		if i == errorsShown {
			fmt.Fprintf(&b, "and %d more", len(e)-i)
			break
		}
		b.WriteString(one.Error())
	}
	return b.String()
}

// Unwrap offers the single errors to errors.As.
func (e Errors) Unwrap() []error {
	all := make([]error, len(e))
	for i := range e {
		all[i] = e[i]
	}
	return all
}

// sorted orders the errors by place; those of one place keep their order.
func (e Errors) sorted() Errors {
	slices.SortStableFunc(e, func(a, b Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return e
}

// err is nil when there are none, so that a nil Errors never becomes a non-nil error.
func (e Errors) err() error {
	if len(e) == 0 {
		return nil
	}
	return e.sorted()
}

package history

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The lines above the text, in order; what stands behind them is written by encode.
const (
	numberLine  = "# vrouterd revision "
	timeLine    = "# time: "
	authorLine  = "# author: "
	summaryLine = "# summary: "
	octetsLine  = "# octets: "
)

// encode writes a revision as the content of its file. Author and summary are quoted, so
// that neither can leave its line.
func encode(r Revision) []byte {
	return fmt.Appendf(nil, "%s%d\n%s%s\n%s%s\n%s%s\n%s%d\n%s",
		numberLine, r.Number, timeLine, r.Time.Format(time.RFC3339), authorLine, strconv.QuoteToASCII(r.Author),
		summaryLine, strconv.QuoteToASCII(r.Summary), octetsLine, len(r.Text), r.Text)
}

// decode reads what encode wrote; any other content is an error, never a panic.
func decode(content []byte) (Revision, error) {
	var r Revision
	var octets int
	rest := string(content)
	for _, field := range []struct {
		line string
		read func(string) error
	}{
		{numberLine, number(&r.Number)},
		{timeLine, func(s string) (err error) {
			r.Time, err = time.Parse(time.RFC3339, s)
			r.Time = r.Time.UTC()
			return err
		}},
		{authorLine, quoted(&r.Author)},
		{summaryLine, quoted(&r.Summary)},
		{octetsLine, number(&octets)},
	} {
		line, behind, ended := strings.Cut(rest, "\n")
		what, found := strings.CutPrefix(line, field.line)
		if !ended || !found {
			return Revision{}, fmt.Errorf("the line %q is missing", strings.TrimSpace(field.line))
		}
		if err := field.read(what); err != nil {
			return Revision{}, fmt.Errorf("the line %q cannot be read: %w", strings.TrimSpace(field.line), err)
		}
		rest = behind
	}
	if len(rest) != octets {
		return Revision{}, fmt.Errorf("the text has %d octets where %d were written", len(rest), octets)
	}
	r.Text = rest
	return r, nil
}

func number(into *int) func(string) error {
	return func(s string) (err error) {
		*into, err = strconv.Atoi(s)
		if err == nil && *into < 0 {
			err = errors.New("it is negative")
		}
		return err
	}
}

func quoted(into *string) func(string) error {
	return func(s string) (err error) {
		*into, err = strconv.Unquote(s)
		return err
	}
}

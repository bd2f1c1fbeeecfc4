package main

import (
	"strings"
	"unicode/utf8"
)

// style of a piece of text on a terminal: the parameters of an SGR sequence.
type style string

const (
	plain  style = ""
	bold   style = "1"
	dim    style = "2"
	red    style = "31"
	green  style = "32"
	yellow style = "33"
	cyan   style = "36"
)

func (s screen) paint(st style, text string) string {
	if !s.color || st == plain || text == "" {
		return text
	}
	return "\x1b[" + string(st) + "m" + text + "\x1b[0m"
}

// column of a table.
type column struct {
	title    string
	right    bool // for numbers
	optional bool // left out when no row has anything to say in it
	flexible bool // gives way when the terminal is narrow
	least    int  // a flexible column is never narrower; 0: leastFlexible
	spare    bool // left out when the terminal is narrower still, the last one first
}

// cell of a row.
type cell struct {
	text  string
	style style
}

func text(s string) cell { return cell{text: s} }

// table is drawn in columns as wide as their content, two spaces apart.
type table struct {
	columns []column
	rows    []row
	empty   string // the sentence for no rows
	before  []int  // widths of the part drawn before; nil: this is the first
}

type row struct {
	cells []cell
	note  string // a line of its own below: why something is as it is
}

func (t *table) add(cells ...cell)              { t.rows = append(t.rows, row{cells: cells}) }
func (t *table) note(s string)                  { t.rows[len(t.rows)-1].note = s }
func width(s string) int                        { return utf8.RuneCountInString(s) }
func newTable(empty string, c ...column) *table { return &table{columns: c, empty: empty} }

const (
	gap           = 2
	leastFlexible = 12
)

// draw the table for a screen.
func (t *table) draw(s screen) string {
	if len(t.rows) == 0 {
		return ""
	}
	widths := t.widths(s)
	var b strings.Builder
	if t.before == nil {
		titles := make([]cell, len(t.columns))
		for i, c := range t.columns {
			titles[i] = cell{c.title, bold}
		}
		t.line(&b, s, titles, widths)
	}
	for _, r := range t.rows {
		t.line(&b, s, r.cells, widths)
		if r.note != "" {
			for _, l := range wrap("   └ ", r.note, s.width) {
				b.WriteString(s.paint(dim, l) + "\n")
			}
		}
	}
	return b.String()
}

// follow makes an empty table whose rows go on below those of t, so that a long one is drawn in
// parts: the columns stay where they are, unless one must be wider.
func (t *table) follow(s screen) *table {
	return &table{columns: t.columns, empty: t.empty, before: t.widths(s)}
}

// widths of the columns; -1 for one that is left out.
func (t *table) widths(s screen) []int {
	widths := make([]int, len(t.columns))
	copy(widths, t.before)
	for i, c := range t.columns {
		if widths[i] < 0 {
			continue
		}
		said := false
		for _, r := range t.rows {
			widths[i] = max(widths[i], width(r.cells[i].text))
			said = said || r.cells[i].text != ""
		}
		if c.optional && !said && t.before == nil {
			widths[i] = -1
			continue
		}
		widths[i] = max(widths[i], width(c.title))
	}
	if s.width == 0 {
		return widths
	}
	// What is needed at the least decides what is left out; what then is too much, flexible
	// columns give up.
	total, needed := -gap, -gap
	floor := func(i int) int {
		if least := t.columns[i].least; t.columns[i].flexible {
			return min(widths[i], max(least, leastFlexible))
		}
		return widths[i]
	}
	for i, w := range widths {
		if w >= 0 {
			total += w + gap
			needed += floor(i) + gap
		}
	}
	for i := len(t.columns) - 1; i >= 0 && needed > s.width; i-- {
		if t.columns[i].spare && widths[i] >= 0 {
			total -= widths[i] + gap
			needed -= floor(i) + gap
			widths[i] = -1
		}
	}
	for i, c := range t.columns {
		if c.flexible && total > s.width && widths[i] > 0 {
			less := min(total-s.width, widths[i]-floor(i))
			widths[i] -= less
			total -= less
		}
	}
	return widths
}

func (t *table) line(b *strings.Builder, s screen, cells []cell, widths []int) {
	last := 0
	for i := range cells {
		if widths[i] >= 0 && cells[i].text != "" {
			last = i
		}
	}
	room, begun := s.width, false
	for i, c := range cells[:last+1] {
		if widths[i] < 0 {
			continue
		}
		if begun {
			room -= gap
			if s.width > 0 && room <= 0 {
				break
			}
			b.WriteString(strings.Repeat(" ", gap))
		}
		begun = true
		shown := cut(c.text, widths[i])
		if s.width > 0 {
			shown = cut(shown, room)
		}
		pad := max(widths[i]-width(shown), 0)
		if s.width > 0 {
			pad = min(pad, max(room-width(shown), 0))
		}
		room -= width(shown) + pad
		blank := strings.Repeat(" ", pad)
		switch {
		case t.columns[i].right:
			b.WriteString(blank + s.paint(c.style, shown))
		case i == last:
			b.WriteString(s.paint(c.style, shown))
		default:
			b.WriteString(s.paint(c.style, shown) + blank)
		}
	}
	b.WriteString("\n")
}

// wrap a sentence into lines of at most w runes, the later ones indented as far as
// the first; 0 is no limit.
func wrap(first, sentence string, w int) []string {
	lines := []string{first}
	for i, word := range strings.Fields(sentence) {
		last := &lines[len(lines)-1]
		switch {
		case i == 0:
			*last += word
		case w > 0 && width(*last)+1+width(word) > w:
			lines = append(lines, strings.Repeat(" ", width(first))+word)
		default:
			*last += " " + word
		}
	}
	for i := range lines {
		lines[i] = cut(lines[i], w)
	}
	return lines
}

// cut s to w runes, the last of them a sign that more was there; 0 is no limit.
func cut(s string, w int) string {
	if w <= 0 || width(s) <= w {
		return s
	}
	return string([]rune(s)[:w-1]) + "…"
}

// block is a list of names and what they are, for one thing rather than many.
type block struct{ rows [][2]cell }

func (b *block) add(name string, value cell) {
	if value.text != "" {
		b.rows = append(b.rows, [2]cell{{name, dim}, value})
	}
}

func (b *block) draw(s screen) string {
	wide := 0
	for _, r := range b.rows {
		wide = max(wide, width(r[0].text))
	}
	var out strings.Builder
	for _, r := range b.rows {
		out.WriteString(s.paint(r[0].style, r[0].text))
		out.WriteString(strings.Repeat(" ", wide-width(r[0].text)+gap))
		out.WriteString(s.paint(r[1].style, r[1].text) + "\n")
	}
	return out.String()
}

package capture

import (
	"fmt"
	"slices"
)

// comparison reads `term relation term`. Its errors are looked at only where nothing else can stand.
func (p *parser) comparison() (node, error) {
	a, err := p.arithmetic(0)
	if err != nil {
		return nil, err
	}
	t := p.next()
	if t.kind != tokenSymbol || !slices.Contains([]string{"=", "==", "!=", "<", ">", "<=", ">="}, t.text) {
		return nil, unexpected(t, "a comparison")
	}
	b, err := p.arithmetic(0)
	return compareNode{a, b, t.text}, err
}

// levels are the binary operators from the loosest to the tightest. The original's grammar gives
// % and ^ no rank, by which they take all that stands to their right as operand; the same
// expression must mean the same here, so they do here too.
var levels = [][]string{{"|"}, {"&"}, {"<<", ">>"}, {"+", "-"}, {"*", "/"}}

func (p *parser) arithmetic(level int) (term, error) {
	if level == len(levels) {
		return p.greedy()
	}
	left, err := p.arithmetic(level + 1)
	for err == nil {
		t := p.peek()
		if t.kind != tokenSymbol || !slices.Contains(levels[level], t.text) {
			return left, nil
		}
		p.next()
		var right term
		if right, err = p.arithmetic(level + 1); err != nil {
			break
		}
		left, err = combine(left, right, t)
	}
	return nil, err
}

// greedy reads an operand, and what % or ^ join to it.
func (p *parser) greedy() (term, error) {
	left, err := p.operand()
	t := p.peek()
	if err != nil || t.kind != tokenSymbol || t.text != "%" && t.text != "^" {
		return left, err
	}
	p.next()
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	right, err := p.arithmetic(0)
	if err != nil {
		return nil, err
	}
	return combine(left, right, t)
}

func combine(left, right term, op token) (term, error) {
	if n, constant := right.(number); constant && (n == 0 && (op.text == "/" || op.text == "%") || n > 31 && (op.text == "<<" || op.text == ">>")) {
		return nil, fmt.Errorf("column %d: %s by %d has no result", op.at, op.text, n)
	}
	return mathTerm{left, right, op.text}, nil
}

func (p *parser) operand() (term, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	switch {
	case p.accept("("):
		inner, err := p.arithmetic(0)
		if err == nil && !p.accept(")") {
			err = p.unexpected("a closing parenthesis")
		}
		return inner, err
	case p.accept("-"):
		inner, err := p.greedy()
		return mathTerm{number(0), inner, "-"}, err
	case p.accept("len"):
		return lengthTerm{}, nil
	}
	t := p.peek()
	_, transport := transports[t.text]
	_, network := networks[t.text]
	if t.kind == tokenWord && !t.escaped && (transport && t.text != "icmp6" || network || t.text == "ether") {
		p.next()
		return p.load(t.text)
	}
	if n, ok := constants[t.text]; ok && t.kind == tokenWord {
		p.next()
		return number(n), nil
	}
	n, err := p.numberUpTo(1<<32 - 1)
	return number(n), err
}

// load reads what follows the protocol in proto[offset:size].
func (p *parser) load(proto string) (term, error) {
	if !p.accept("[") {
		return nil, p.unexpected("[")
	}
	offset, err := p.arithmetic(0)
	if err != nil {
		return nil, err
	}
	size := 1
	if p.accept(":") {
		t := p.next()
		switch t.text {
		case "1", "2", "4":
			size = int(t.text[0] - '0')
		default:
			return nil, unexpected(t, "a size of 1, 2 or 4")
		}
	}
	if !p.accept("]") {
		return nil, p.unexpected("a closing bracket")
	}
	return loadTerm{proto, offset, size}, nil
}

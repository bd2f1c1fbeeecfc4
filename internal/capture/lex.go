package capture

import (
	"fmt"
	"strings"
)

// kind of a token.
type kind uint8

const (
	tokenEnd    kind = iota
	tokenWord        // letters and digits with - . _ between them: keywords, addresses, numbers
	tokenMAC         // six octets in hexadecimal
	tokenSymbol      // punctuation
)

type token struct {
	kind    kind
	text    string // keywords and operators in their first spelling: and, or, not
	at      int    // column, from 1
	escaped bool   // preceded by a backslash: not a keyword
}

// Limits of an expression.
const (
	maxExpression = 8192 // octets
	maxDepth      = 100  // parentheses, brackets and nots within each other
)

// symbols, the longer before their beginnings.
var symbols = []string{"&&", "||", "<<", ">>", "<=", ">=", "==", "!=", "(", ")", "[", "]", "!", "&", "|", "^", "+", "-", "*", "/", "%", "<", ">", "=", ":"}

// lex splits an expression; the last token is the end.
func lex(s string) ([]token, error) {
	if len(s) > maxExpression {
		return nil, fmt.Errorf("it has %d characters, at most %d are read", len(s), maxExpression)
	}
	var out []token
	escaped := false
next:
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
			continue
		case c == '\\':
			escaped = true
			i++
			continue
		case alphanumeric(c):
			t := token{kind: tokenMAC, text: macAt(s[i:]), at: i + 1, escaped: escaped}
			if t.text == "" {
				t.kind, t.text = tokenWord, wordAt(s[i:])
			}
			escaped = false
			out = append(out, t)
			i += len(t.text)
			continue
		}
		for _, y := range symbols {
			if strings.HasPrefix(s[i:], y) {
				t := token{kind: tokenSymbol, text: y, at: i + 1}
				switch y {
				case "&&":
					t.kind, t.text = tokenWord, "and"
				case "||":
					t.kind, t.text = tokenWord, "or"
				case "!":
					t.kind, t.text = tokenWord, "not"
				}
				out = append(out, t)
				i += len(y)
				continue next
			}
		}
		return nil, fmt.Errorf("column %d: %q has no meaning here", i+1, s[i:i+1])
	}
	return append(out, token{kind: tokenEnd, at: len(s) + 1}), nil
}

func alphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func hexadecimal(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// wordAt is the word that s begins with. It ends with a letter, a digit or a dot.
func wordAt(s string) string {
	end := 0
	for i := 0; i < len(s) && (alphanumeric(s[i]) || strings.IndexByte("-_.", s[i]) >= 0); i++ {
		if s[i] != '-' && s[i] != '_' {
			end = i + 1
		}
	}
	return s[:end]
}

// macAt is the hardware address that s begins with, or "".
func macAt(s string) string {
	i := 0
	for octet := range 6 {
		if octet > 0 {
			if i >= len(s) || s[i] != ':' && s[i] != '-' {
				return ""
			}
			i++
		}
		start := i
		for i < len(s) && i < start+2 && hexadecimal(s[i]) {
			i++
		}
		if i == start {
			return ""
		}
	}
	if i < len(s) && (alphanumeric(s[i]) || s[i] == ':' || s[i] == '-') {
		return ""
	}
	return s[:i]
}

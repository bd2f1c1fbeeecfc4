package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// expand writes shortened commands and nouns out: any unique beginning of a name or
// of another name for the same thing will do. Where ip(8) takes the first match
// of an order that one has to know, an ambiguous word is an error here that lists
// what it could be: a script does not change its meaning when a noun is added.
func expand(root *cobra.Command, args []string) ([]string, error) {
	if len(args) > 1 && (args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd) {
		// The shell asks what could follow; the last word is still being typed.
		before, err := expand(root, args[1:len(args)-1])
		if err != nil {
			return args, nil
		}
		return slices.Concat(args[:1], before, args[len(args)-1:]), nil
	}
	var out []string
	cmd := root
	for i := 0; i < len(args); i++ {
		word := args[i]
		switch {
		case word == "--" || !cmd.HasSubCommands():
			return append(out, args[i:]...), nil
		case strings.HasPrefix(word, "-"):
			out = append(out, word)
			if takesValue(cmd, word) && i+1 < len(args) {
				i++
				out = append(out, args[i])
			}
		default:
			next, err := resolve(cmd, word)
			if err != nil {
				return nil, err
			}
			if next == nil {
				return append(out, args[i:]...), nil
			}
			out = append(out, next.Name())
			cmd = next
		}
	}
	return out, nil
}

// takesValue tells whether the next word belongs to this flag.
func takesValue(cmd *cobra.Command, word string) bool {
	if strings.Contains(word, "=") {
		return false
	}
	for c := cmd; c != nil; c = c.Parent() {
		f := c.PersistentFlags().Lookup(strings.TrimLeft(word, "-"))
		if !strings.HasPrefix(word, "--") {
			if len(word) != 2 {
				return false // -nNAME carries its value
			}
			f = c.PersistentFlags().ShorthandLookup(word[1:])
		}
		if f != nil {
			return f.NoOptDefVal == ""
		}
	}
	return false
}

// resolve a word below cmd.
func resolve(cmd *cobra.Command, word string) (*cobra.Command, error) {
	var found []*cobra.Command
	for _, c := range cmd.Commands() {
		names := append([]string{c.Name()}, c.Aliases...)
		if slices.Contains(names, word) {
			return c, nil
		}
		if !c.Hidden && slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, word) }) {
			found = append(found, c)
		}
	}
	if word == cobra.ShellCompRequestCmd || word == cobra.ShellCompNoDescRequestCmd {
		return nil, nil
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		if cmd.Annotations[takesNames] != "" {
			return nil, nil // an argument: show firewall ping
		}
		if _, err := network(word); err == nil && cmd.Runnable() {
			return nil, nil // an argument: show rip 10.0.0.0/8
		}
		return nil, unknown(cmd, word)
	}
	names := make([]string, len(found))
	for i, c := range found {
		names[i] = c.Name()
	}
	last := len(names) - 1
	return nil, usagef("%q could be %s or %s: write more of it", word, strings.Join(names[:last], ", "), names[last])
}

// unknown says what may have been meant.
func unknown(cmd *cobra.Command, word string) error {
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(word); len(near) > 0 {
		return usagef("there is no command %q in %s: did you mean %s?", word, cmd.CommandPath(), strings.Join(near, " or "))
	}
	return usagef("there is no command %q in %s: see %s --help", word, cmd.CommandPath(), cmd.CommandPath())
}

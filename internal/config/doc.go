// Package config turns the text that an operator wrote into a [Config] that the
// router can rely on, or into sentences that say where the text is wrong and
// what would be right.
//
// # The path
//
//	source -> readSource -> node tree -> decode -> raw -> validate -> Config
//
// readSource refuses what is no YAML text of ours: too large, not UTF-8, tabs as
// indentation, several documents, anchors and tags. What it returns is a tree in
// which every node knows its line and column.
//
// decode walks the tree with tables of keys (keys.go). A row of a table
// holds a key's name, its sentence of description, its JSON Schema and
// the function that reads it, so that the schema cannot tell of a key which the decoder
// does not know. What a row reads is kept together with its node, because the
// errors that follow must name a place.
//
// validate looks at things together: subnets that overlap, a gateway that is nobody's, a
// route through nowhere. It fills in the defaults, and only here does a [Config] come
// into being.
//
// Neither step stops at the first error. The operator gets all of them, in
// the order of the file, because a router's configuration is often mended over a slow
// line.
//
// What a section stands for is written out here, too: of `firewall: home` nothing but zones, policies and
// rules reaches the router, each with the line of the word (firewall_home.go). Rules keep their place ([Pos]), so that a log
// line and an explanation can name the line that decided, and [SourceLine] its text.
//
// # Why strict
//
// A router that starts with half of what it was told is worse than one that
// keeps what it had. So an unknown key is an error: a firewall that is silently not there is
// the worst of all.
// Anchors, aliases and merge keys are refused too. They save a few lines, but a
// running configuration is edited a line at a time ([Document]), and with an alias one
// line is in two places.
//
// # The text stays the operator's
//
// Commands that change the running router ("route add", "port down") change the
// text as well, through [Document]: only the lines concerned, so that
// comments, order and blank lines survive `config save`.
package config

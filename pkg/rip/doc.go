// Package rip speaks RIP version 2 (RFC 2453) and version 1 (RFC 1058).
package rip

package config

import (
	"fmt"
	"path/filepath"
	"strings"
)

// Lengths of names, in octets.
const (
	maxInstance = 64  // with /run/vrouterd/ and .sock it fits a Unix socket's 107 octets
	maxPort     = 32  // fits a column of `show ports`
	maxDevice   = 15  // IFNAMSIZ without its end
	maxNetns    = 255 // NAME_MAX; a path may be longer
	maxPath     = 4095
	maxComment  = 1024
)

// instanceName is the router's name and the name of its socket's file.
func instanceName() value[string] {
	return checked(maxInstance, namePattern, checkWord)
}

// checkWord finds fault with a name of an instance or a port, which stand in
// commands, file names and labels of metrics.
func checkWord(s string) string {
	alphanumeric := func(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' }
	if s == "" || !alphanumeric(rune(s[0])) || strings.ContainsFunc(s, func(r rune) bool { return !alphanumeric(r) && !strings.ContainsRune("._-", r) }) {
		return fmt.Sprintf("%q cannot be a name: use letters, digits, '.', '_' and '-', and begin with a letter or a digit", shorten(s))
	}
	return ""
}

func deviceName() value[string] {
	return checked(maxDevice, `^[^/:%\s]+$`, checkDevice)
}

// checkDevice finds fault with the name of a network device, as the kernel's
// dev_valid_name does.
func checkDevice(s string) string {
	switch {
	case len(s) > maxDevice:
		return fmt.Sprintf("%q has %d octets, but the kernel allows a device at most %d", shorten(s), len(s), maxDevice)
	case s == "." || s == "..", strings.ContainsAny(s, "/:%"), strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f || r == 0xa0 || r == 0x85 }):
		return fmt.Sprintf("%q cannot be a device: '/', ':', '%%' and spaces are not allowed", shorten(s))
	case s == "lo":
		return "lo is the namespace's loopback device: choose another name"
	case s == "all" || s == "default":
		return fmt.Sprintf("%q cannot be a device: the kernel keeps the word for its settings of all devices", s)
	}
	return ""
}

func netnsName() value[string] {
	return checked(maxPath, "", func(s string) string {
		switch {
		case strings.ContainsRune(s, 0):
			return "a NUL octet cannot stand in a name"
		case filepath.IsAbs(s):
			return ""
		case s == "." || s == "..", strings.ContainsAny(s, "/ \t\n"):
			return fmt.Sprintf("%q is neither a name of `ip netns` nor an absolute path such as /run/netns/h1", shorten(s))
		case len(s) > maxNetns:
			return fmt.Sprintf("the name has %d octets: at most %d are allowed", len(s), maxNetns)
		}
		return ""
	})
}

// netnsKey is the same for two spellings of one namespace: h1, /run/netns/h1
// and /var/run/netns/h1.
func netnsKey(s string) string {
	if !filepath.IsAbs(s) {
		return s
	}
	path := filepath.Clean(s)
	for _, directory := range []string{"/run/netns/", "/var/run/netns/"} {
		if name, ok := strings.CutPrefix(path, directory); ok && !strings.Contains(name, "/") {
			return name
		}
	}
	return path
}

// nameOf is what an instance is called when its file does not say.
func nameOf(file string) string {
	base := filepath.Base(file)
	if name := strings.TrimSuffix(base, filepath.Ext(base)); name != "" {
		return name
	}
	return base
}

package config

// plannedKeys are the sections that the interface promises and this version has
// not built. They are refused, never ignored: who writes a DHCP server must not get a
// router without one. When a part is built, its line goes and a row in topKeys comes.
func plannedKeys() []key[rawConfig] {
	return []key[rawConfig]{
		{name: "dhcp", planned: "DHCP server"},
		{name: "dns", planned: "DNS forwarder"},
	}
}

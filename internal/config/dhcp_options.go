package config

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
	"go.yaml.in/yaml/v3"
)

// Limits of options. A long one is split (RFC 3396), but a message has at most 1500 octets.
const (
	maxOptions      = 64
	maxOptionOctets = 1024
)

// optionKind is how the value of an option is written.
type optionKind uint8

const (
	kindGuess     optionKind = iota // of a code that has no kind: by the look of the value
	kindAddress                     // one address
	kindAddresses                   // one or more
	kindPairs                       // pairs of addresses, one behind the other
	kindText
	kindBool
	kindUint8
	kindUint16
	kindUint32
	kindInt32
	kindUint8s
	kindUint16s
	kindDomains // RFC 3397
	kindRoutes  // RFC 3442
	kindVendor  // hex:, or a mapping of sub-options
)

// optionDef is what is known of the option of a code.
type optionDef struct {
	code uint8
	name string
	kind optionKind
}

// optionDefs are the options of RFC 2132 and later ones whose kind is known, by their names there.
func optionDefs() []optionDef {
	return []optionDef{
		{1, "subnet_mask", kindAddress}, {2, "time_offset", kindInt32}, {3, "routers", kindAddresses}, {4, "time_servers", kindAddresses},
		{5, "name_servers", kindAddresses}, {6, "dns_servers", kindAddresses}, {7, "log_servers", kindAddresses}, {8, "cookie_servers", kindAddresses},
		{9, "lpr_servers", kindAddresses}, {10, "impress_servers", kindAddresses}, {11, "resource_location_servers", kindAddresses},
		{12, "host_name", kindText}, {13, "boot_file_size", kindUint16}, {14, "merit_dump_file", kindText}, {15, "domain_name", kindText},
		{16, "swap_server", kindAddress}, {17, "root_path", kindText}, {18, "extensions_path", kindText}, {19, "ip_forwarding", kindBool},
		{20, "non_local_source_routing", kindBool}, {21, "policy_filter", kindPairs}, {22, "max_datagram_reassembly", kindUint16}, {23, "default_ttl", kindUint8},
		{24, "path_mtu_aging_timeout", kindUint32}, {25, "path_mtu_plateau_table", kindUint16s}, {26, "interface_mtu", kindUint16},
		{27, "all_subnets_local", kindBool}, {28, "broadcast_address", kindAddress}, {29, "perform_mask_discovery", kindBool}, {30, "mask_supplier", kindBool},
		{31, "router_discovery", kindBool}, {32, "router_solicitation_address", kindAddress}, {33, "static_routes", kindPairs},
		{34, "trailer_encapsulation", kindBool}, {35, "arp_cache_timeout", kindUint32}, {36, "ethernet_encapsulation", kindBool}, {37, "default_tcp_ttl", kindUint8},
		{38, "tcp_keepalive_interval", kindUint32}, {39, "tcp_keepalive_garbage", kindBool}, {40, "nis_domain", kindText}, {41, "nis_servers", kindAddresses},
		{42, "ntp_servers", kindAddresses}, {43, "vendor_specific", kindVendor}, {44, "netbios_name_servers", kindAddresses}, {45, "netbios_dd_servers", kindAddresses},
		{46, "netbios_node_type", kindUint8}, {47, "netbios_scope", kindText}, {48, "x_font_servers", kindAddresses}, {49, "x_display_managers", kindAddresses},
		{60, "vendor_class", kindText}, {62, "netware_ip_domain", kindText}, {64, "nisplus_domain", kindText}, {65, "nisplus_servers", kindAddresses},
		{66, "tftp_server_name", kindText}, {67, "boot_file_name", kindText}, {68, "mobile_ip_home_agents", kindAddresses}, {69, "smtp_servers", kindAddresses},
		{70, "pop3_servers", kindAddresses}, {71, "nntp_servers", kindAddresses}, {72, "www_servers", kindAddresses}, {73, "finger_servers", kindAddresses},
		{74, "irc_servers", kindAddresses}, {75, "street_talk_servers", kindAddresses}, {76, "stda_servers", kindAddresses},
		{100, "posix_timezone", kindText}, {101, "tzdb_timezone", kindText}, {108, "ipv6_only_preferred", kindUint32}, {114, "captive_portal", kindText},
		{116, "auto_configure", kindUint8}, {119, "domain_search", kindDomains}, {121, "classless_routes", kindRoutes},
		{150, "tftp_servers", kindAddresses}, {208, "pxelinux_magic", kindGuess}, {209, "pxelinux_config_file", kindText}, {210, "pxelinux_path_prefix", kindText},
		{211, "pxelinux_reboot_time", kindUint32}, {249, "microsoft_classless_routes", kindRoutes}, {252, "wpad", kindText},
	}
}

// optionNamed finds what is known of an option by its number or its name.
func optionNamed(s string) (optionDef, bool) {
	code, isNumber := decimal(s)
	for _, def := range optionDefs() {
		if def.name == s || isNumber && int(def.code) == code {
			return def, true
		}
	}
	return optionDef{code: uint8(code)}, isNumber && code <= 255
}

// ownOption says why an option cannot be given by the configuration, or "".
func ownOption(code uint8) string {
	switch code {
	case 0, 255:
		return "it is padding or the end of the options (RFC 2132 section 3)"
	case 50, 55, 57, 61, 118:
		return "clients send it, not servers"
	case 51:
		return "it is the lease time: use `lease:`"
	case 58:
		return "it is the renewal time: use `renew:`"
	case 59:
		return "it is the rebinding time: use `rebind:`"
	case 52, 53, 54, 56:
		return "it is part of the protocol, and the server sets it"
	case 80:
		return "it is the server's answer to rapid commit: use `rapid_commit:`"
	case 81:
		return "it is the server's answer about the client's full name (RFC 4702)"
	case 82:
		return "it is the relay's, and the server sends it back as it came (RFC 3046)"
	}
	return ""
}

// dhcpOptions is a mapping from numbers or names to values.
func dhcpOptions() value[rawOptions] {
	return value[rawOptions]{
		schema: &jsonschema.Schema{
			Type:                 "object",
			PropertyNames:        &jsonschema.Schema{Pattern: `^([0-9]{1,3}|[a-z][a-z0-9_]*)$`},
			AdditionalProperties: &jsonschema.Schema{Types: []string{"string", "number", "boolean", "array", "object"}},
			MaxProperties:        jsonschema.Ptr(maxOptions),
		},
		read: readOptions,
	}
}

func readOptions(d *decoder, what string, n *yaml.Node) (rawOptions, bool) {
	switch {
	case n.Kind != yaml.MappingNode:
		d.fail(n, "%s is a mapping from numbers to values, such as {42: 192.168.1.1}, not %s", what, kindName(n))
		return nil, false
	case len(n.Content)/2 > maxOptions:
		d.fail(n, "%s: there are %d of them: at most %d are allowed", what, len(n.Content)/2, maxOptions)
		return nil, false
	}
	before := len(d.errors)
	var all rawOptions
	seen := make(map[uint8]*yaml.Node)
	for i := 0; i < len(n.Content); i += 2 {
		name, content := n.Content[i], n.Content[i+1]
		def, ok := readOptionName(d, what, name)
		if !ok {
			continue
		}
		if first := seen[def.code]; first != nil {
			d.fail(name, "%s: the option %d stands already in line %d: keep one of them", what, def.code, first.Line)
			continue
		}
		seen[def.code] = name
		if why := ownOption(def.code); why != "" {
			d.fail(name, "%s: the option %d cannot be given here: %s", what, def.code, why)
			continue
		}
		o := &optionReader{decoder: d, def: def}
		octets, ok := o.octets(content)
		if ok && len(octets) > maxOptionOctets {
			d.fail(content, "%s has %d octets: at most %d are allowed", o.title(), len(octets), maxOptionOctets)
		}
		all = append(all, rawOption{name, def.code, octets})
	}
	return all, len(d.errors) == before
}

func readOptionName(d *decoder, what string, name *yaml.Node) (optionDef, bool) {
	if name.Kind != yaml.ScalarNode || name.ShortTag() == "!!merge" {
		d.fail(name, "%s: an option has a number from 1 to 254 or a name such as ntp_servers", what)
		return optionDef{}, false
	}
	def, ok := optionNamed(name.Value)
	if ok {
		return def, true
	}
	var names []string
	for _, def := range optionDefs() {
		names = append(names, def.name)
	}
	if strings.Trim(name.Value, "0123456789") == "" {
		d.fail(name, "%s: %q is not the number of an option: give one from 1 to 254", what, shorten(name.Value))
	} else if hint := suggest(name.Value, "", names); strings.HasPrefix(hint, "did you mean") {
		d.fail(name, "%s: there is no option %q; %s", what, shorten(name.Value), hint)
	} else {
		d.fail(name, "%s: there is no option %q: give its number, such as 42 for ntp_servers", what, shorten(name.Value))
	}
	return optionDef{}, false
}

// optionsMap is what the router gets; nil for none.
func optionsMap(all rawOptions) map[uint8][]byte {
	var out map[uint8][]byte
	for _, o := range all {
		if out == nil {
			out = make(map[uint8][]byte, len(all))
		}
		out[o.code] = o.value
	}
	return out
}

// optionText is an option as messages name it: "42 (ntp_servers)".
func optionText(code uint8) string {
	for _, def := range optionDefs() {
		if def.code == code {
			return fmt.Sprintf("%d (%s)", code, def.name)
		}
	}
	return strconv.Itoa(int(code))
}

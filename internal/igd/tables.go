package igd

import "fmt"

// variable is a state variable of a service: the type of arguments.
type variable struct {
	name    string
	kind    string // string, boolean, ui2, ui4, i4
	allowed []string
	since   int // version of the service; 0: ever
}

// argument is one of an action, with the name of its variable.
type argument struct{ name, variable string }

// action is what a client can have done. It returns the values of out, in their order.
type action struct {
	name    string
	in, out []argument
	do      func(*call) ([]string, error)
	since   int
}

// service is one of a device.
type service struct {
	name      string // WANIPConnection
	id        string // WANIPConn1
	version   int    // the highest
	variables []variable
	actions   []action
}

// device is the gateway or a part of it.
type device struct {
	name     string
	services []*service
	devices  []*device
}

// serviceType is a service's name on the wire, in the tree of the given version.
func (v *service) serviceType(tree int) string {
	return fmt.Sprintf("urn:schemas-upnp-org:service:%s:%d", v.name, min(tree, v.version))
}

func (d *device) deviceType(tree int) string {
	return fmt.Sprintf("urn:schemas-upnp-org:device:%s:%d", d.name, tree)
}

// find is the action of that name in a version.
func (v *service) find(name string, version int) *action {
	for i := range v.actions {
		if a := &v.actions[i]; a.name == name && a.since <= version {
			return a
		}
	}
	return nil
}

func (v *service) variable(name string) variable {
	for _, x := range v.variables {
		if x.name == name {
			return x
		}
	}
	return variable{name: name, kind: "string"}
}

// gatewayTree is the device with its parts (InternetGatewayDevice:1 section 2.2).
func gatewayTree() *device {
	return &device{
		name: "InternetGatewayDevice", services: []*service{layer3Forwarding()},
		devices: []*device{{
			name: "WANDevice", services: []*service{wanCommon()},
			devices: []*device{{name: "WANConnectionDevice", services: []*service{wanIP()}}},
		}},
	}
}

func layer3Forwarding() *service {
	const connection = "DefaultConnectionService"
	value := []argument{{"NewDefaultConnectionService", connection}}
	return &service{
		name: "Layer3Forwarding", id: "L3Forwarding1", version: 1,
		variables: []variable{{name: connection, kind: "string"}},
		actions: []action{
			{name: "SetDefaultConnectionService", in: value, do: (*call).notForClients},
			{name: "GetDefaultConnectionService", out: value, do: (*call).defaultConnection},
		},
	}
}

func wanCommon() *service {
	counter := func(name string, of func(Link) uint64) action {
		return action{name: "Get" + name, out: []argument{{"New" + name, name}}, do: func(c *call) ([]string, error) { return c.total(of) }}
	}
	return &service{
		name: "WANCommonInterfaceConfig", id: "WANCommonIFC1", version: 1,
		variables: []variable{
			{name: "WANAccessType", kind: "string", allowed: []string{"DSL", "POTS", "Cable", "Ethernet"}},
			{name: "Layer1UpstreamMaxBitRate", kind: "ui4"},
			{name: "Layer1DownstreamMaxBitRate", kind: "ui4"},
			{name: "PhysicalLinkStatus", kind: "string", allowed: []string{"Up", "Down"}},
			{name: "TotalBytesSent", kind: "ui4"},
			{name: "TotalBytesReceived", kind: "ui4"},
			{name: "TotalPacketsSent", kind: "ui4"},
			{name: "TotalPacketsReceived", kind: "ui4"},
		},
		actions: []action{
			{name: "GetCommonLinkProperties", do: (*call).linkProperties, out: []argument{
				{"NewWANAccessType", "WANAccessType"},
				{"NewLayer1UpstreamMaxBitRate", "Layer1UpstreamMaxBitRate"},
				{"NewLayer1DownstreamMaxBitRate", "Layer1DownstreamMaxBitRate"},
				{"NewPhysicalLinkStatus", "PhysicalLinkStatus"},
			}},
			counter("TotalBytesSent", func(l Link) uint64 { return l.BytesSent }),
			counter("TotalBytesReceived", func(l Link) uint64 { return l.BytesReceived }),
			counter("TotalPacketsSent", func(l Link) uint64 { return l.PacketsSent }),
			counter("TotalPacketsReceived", func(l Link) uint64 { return l.PacketsReceived }),
		},
	}
}

// portListing is the variable of the one argument that is a document.
const portListing = "A_ARG_TYPE_PortListing"

func wanIP() *service {
	remote := argument{"NewRemoteHost", "RemoteHost"}
	external := argument{"NewExternalPort", "ExternalPort"}
	protocol := argument{"NewProtocol", "PortMappingProtocol"}
	from, to := argument{"NewStartPort", "ExternalPort"}, argument{"NewEndPort", "ExternalPort"}
	manage := argument{"NewManage", "A_ARG_TYPE_Manage"}
	key := []argument{remote, external, protocol}
	inside := []argument{
		{"NewInternalPort", "InternalPort"}, {"NewInternalClient", "InternalClient"}, {"NewEnabled", "PortMappingEnabled"},
		{"NewPortMappingDescription", "PortMappingDescription"}, {"NewLeaseDuration", "PortMappingLeaseDuration"},
	}
	whole := append(append([]argument(nil), key...), inside...)
	return &service{
		name: "WANIPConnection", id: "WANIPConn1", version: 2,
		variables: []variable{
			{name: "ConnectionType", kind: "string", allowed: []string{"Unconfigured", "IP_Routed", "IP_Bridged"}},
			{name: "PossibleConnectionTypes", kind: "string"},
			{name: "ConnectionStatus", kind: "string", allowed: []string{"Unconfigured", "Connecting", "Connected", "PendingDisconnect", "Disconnecting", "Disconnected"}},
			{name: "Uptime", kind: "ui4"},
			{name: "LastConnectionError", kind: "string", allowed: []string{"ERROR_NONE"}},
			{name: "RSIPAvailable", kind: "boolean"},
			{name: "NATEnabled", kind: "boolean"},
			{name: "ExternalIPAddress", kind: "string"},
			{name: "PortMappingNumberOfEntries", kind: "ui2"},
			{name: "PortMappingEnabled", kind: "boolean"},
			{name: "PortMappingLeaseDuration", kind: "ui4"},
			{name: "RemoteHost", kind: "string"},
			{name: "ExternalPort", kind: "ui2"},
			{name: "InternalPort", kind: "ui2"},
			{name: "PortMappingProtocol", kind: "string", allowed: []string{"TCP", "UDP"}},
			{name: "InternalClient", kind: "string"},
			{name: "PortMappingDescription", kind: "string"},
			{name: "A_ARG_TYPE_Manage", kind: "boolean", since: 2},
			{name: portListing, kind: "string", since: 2},
		},
		actions: []action{
			{name: "SetConnectionType", in: []argument{{"NewConnectionType", "ConnectionType"}}, do: (*call).setConnectionType},
			{name: "GetConnectionTypeInfo", do: (*call).connectionType, out: []argument{
				{"NewConnectionType", "ConnectionType"}, {"NewPossibleConnectionTypes", "PossibleConnectionTypes"}}},
			{name: "RequestConnection", do: (*call).requestConnection},
			{name: "ForceTermination", do: (*call).notForClients},
			{name: "GetStatusInfo", do: (*call).status, out: []argument{
				{"NewConnectionStatus", "ConnectionStatus"}, {"NewLastConnectionError", "LastConnectionError"}, {"NewUptime", "Uptime"}}},
			{name: "GetNATRSIPStatus", do: (*call).natStatus, out: []argument{
				{"NewRSIPAvailable", "RSIPAvailable"}, {"NewNATEnabled", "NATEnabled"}}},
			{name: "GetExternalIPAddress", do: (*call).externalAddress, out: []argument{{"NewExternalIPAddress", "ExternalIPAddress"}}},
			{name: "GetGenericPortMappingEntry", do: (*call).mappingAt,
				in: []argument{{"NewPortMappingIndex", "PortMappingNumberOfEntries"}}, out: whole},
			{name: "GetSpecificPortMappingEntry", do: (*call).mappingOf, in: key, out: inside},
			{name: "AddPortMapping", do: (*call).addMapping, in: whole},
			{name: "AddAnyPortMapping", do: (*call).addAnywhere, in: whole, out: []argument{{"NewReservedPort", "ExternalPort"}}, since: 2},
			{name: "DeletePortMapping", do: (*call).deleteMapping, in: key},
			{name: "DeletePortMappingRange", do: (*call).deleteRange, in: []argument{from, to, protocol, manage}, since: 2},
			{name: "GetListOfPortMappings", do: (*call).listMappings, since: 2,
				in:  []argument{from, to, protocol, manage, {"NewNumberOfPorts", "PortMappingNumberOfEntries"}},
				out: []argument{{"NewPortListing", portListing}}},
		},
	}
}

// A runtime in a few lines, on libcni: libcni-driver add|check|del NETWORK CONTAINER NETNS POD [HOSTPORT [DEVICE]]
// reads /etc/cni/net.d/NETWORK.conflist, calls the plugins of /opt/cni/bin, prints the result of add, and keeps it in libcni's cache.
// DEVICE goes to the first plugin as Multus sends it: as deviceID and pciBusID.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"

	"github.com/containernetworking/cni/libcni"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 5 {
		return fmt.Errorf("usage: libcni-driver add|check|del NETWORK CONTAINER NETNS POD [HOSTPORT [DEVICE]]")
	}
	list, err := libcni.LoadConfList("/etc/cni/net.d", args[1])
	if err != nil {
		return err
	}
	runtime := &libcni.RuntimeConf{
		ContainerID: args[2], NetNS: args[3], IfName: "eth0",
		Args: [][2]string{{"IgnoreUnknown", "1"}, {"K8S_POD_NAMESPACE", "default"}, {"K8S_POD_NAME", args[4]}},
	}
	if len(args) > 5 && args[5] != "" {
		port, err := strconv.Atoi(args[5])
		if err != nil {
			return err
		}
		mapping := map[string]interface{}{"hostPort": port, "containerPort": 80, "protocol": "tcp"}
		runtime.CapabilityArgs = map[string]interface{}{"portMappings": []interface{}{mapping}}
	}
	if len(args) > 6 {
		device := map[string]interface{}{"deviceID": args[6], "pciBusID": args[6]}
		if list.Plugins[0], err = libcni.InjectConf(list.Plugins[0], device); err != nil {
			return err
		}
	}
	cni := libcni.NewCNIConfig([]string{"/opt/cni/bin"}, nil)
	switch args[0] {
	case "add":
		result, err := cni.AddNetworkList(context.Background(), list, runtime)
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(result)
	case "check":
		return cni.CheckNetworkList(context.Background(), list, runtime)
	case "del":
		return cni.DelNetworkList(context.Background(), list, runtime)
	}
	return fmt.Errorf("no such verb: %s", args[0])
}

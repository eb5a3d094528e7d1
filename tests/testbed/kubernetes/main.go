// All of Kubernetes and its etcd in one binary, one component per first argument, so that each package is compiled
// and linked once: `kubernetes kube-apiserver --flags…`, `kubernetes etcd FOLDER CLIENT-PORT PEER-PORT`.
package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/embed"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

var components = map[string]func() *cobra.Command{
	"etcd":                    etcd,
	"kube-apiserver":          apiserver.NewAPIServerCommand,
	"kube-controller-manager": controllers.NewControllerManagerCommand,
	"kube-proxy":              proxy.NewProxyCommand,
	"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
	"kubectl":                 kubectl.NewDefaultKubectlCommand,
	"kubelet":                 func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) },
}

func main() {
	name := filepath.Base(os.Args[0])
	if components[name] == nil && len(os.Args) > 1 {
		name, os.Args = os.Args[1], os.Args[1:]
	}
	component := components[name]
	if component == nil {
		fmt.Fprintln(os.Stderr, "usage: kubernetes etcd|kube-apiserver|kube-controller-manager|kube-proxy|kube-scheduler|kubelet|kubectl ...")
		os.Exit(2)
	}
	if name == "kubectl" {
		if err := component().Execute(); err != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(cli.Run(component()))
}

func etcd() *cobra.Command {
	config := embed.NewConfig()
	command := &cobra.Command{
		Use:  "etcd FOLDER CLIENT-URL PEER-URL",
		Args: cobra.ExactArgs(3),
		RunE: func(_ *cobra.Command, arguments []string) error {
			return serveEtcd(config, arguments[0], arguments[1], arguments[2])
		},
	}
	flags := command.Flags()
	flags.Int64Var(&config.QuotaBackendBytes, "quota-backend-bytes", config.QuotaBackendBytes, "as etcd's own")
	flags.Uint64Var(&config.SnapshotCount, "snapshot-count", config.SnapshotCount, "as etcd's own")
	flags.Uint64Var(&config.SnapshotCatchUpEntries, "snapshot-catchup-entries", config.SnapshotCatchUpEntries, "as etcd's own")
	return command
}

// serveEtcd runs one member without fsync, until SIGTERM: what it keeps dies with the testbed.
func serveEtcd(config *embed.Config, folder, client, peer string) error {
	clientURL, err := url.Parse(client)
	if err != nil {
		return err
	}
	peerURL, err := url.Parse(peer)
	if err != nil {
		return err
	}
	config.Dir = folder
	config.LogLevel = "warn"
	config.UnsafeNoFsync = true
	config.WarningUnaryRequestDuration = 5 * time.Second // the zero of NewConfig warns of every request
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{*clientURL}, []url.URL{*clientURL}
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{*peerURL}, []url.URL{*peerURL}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	server, err := embed.StartEtcd(config)
	if err != nil {
		return err
	}
	defer server.Close()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	select {
	case err = <-server.Err():
	case <-stop:
	}
	return err
}

package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	"k8s.io/utils/ptr"

	"github.com/spf13/cobra"
)

const (
	nodeName      = "devkube-node"
	heartbeat     = 10 * time.Second
	leaseDuration = 40 * time.Second
	nodeWorkers   = 4
)

// simulatedNode is a node that runs NOTHING. It registers a Node, keeps it Ready, marks every pod the
// scheduler binds to it as simulate.go says (Running and Ready unless the pod asks otherwise) and
// removes pods that are being deleted. No container, image, network, log, exec, probe or volume is real.
// It acts as the user system:node:devkube-node, with no more rights than a kubelet has.
type simulatedNode struct {
	client    kubernetes.Interface
	pods      corelisters.PodLister
	queue     workqueue.TypedRateLimitingInterface[cache.ObjectName]
	addresses atomic.Uint32 // the last pod address given out
}

func newNodeCommand() *cobra.Command {
	var kubeconfig string
	command := newCommand("node", "A simulated node: pods bound to it are marked Running, nothing is run.",
		func(ctx context.Context) error { return runNode(ctx, kubeconfig) })
	command.Flags().StringVar(&kubeconfig, "kubeconfig", "", "how to reach the API server, as "+nodeUser)
	_ = command.MarkFlagRequired("kubeconfig")
	return command
}

func runNode(ctx context.Context, kubeconfig string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	config.QPS = -1
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	mine := informers.WithTweakListOptions(func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector("spec.nodeName", nodeName).String()
	})
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, mine)
	pods := factory.Core().V1().Pods()
	n := &simulatedNode{
		client: client,
		pods:   pods.Lister(),
		queue: workqueue.NewTypedRateLimitingQueue(
			workqueue.NewTypedItemExponentialFailureRateLimiter[cache.ObjectName](10*time.Millisecond, 5*time.Second)),
	}
	defer n.queue.ShutDown()
	_, err = pods.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    n.enqueue,
		UpdateFunc: func(_, pod any) { n.enqueue(pod) },
	})
	if err != nil {
		return err
	}
	go wait.UntilWithContext(ctx, n.beat, heartbeat)
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	n.rememberAddresses(pods.Informer().GetStore().List())
	for range nodeWorkers {
		go wait.UntilWithContext(ctx, n.work, time.Second)
	}
	<-ctx.Done()
	return nil
}

func (n *simulatedNode) enqueue(object any) {
	if name, err := cache.ObjectToName(object); err == nil {
		n.queue.Add(name)
	}
}

func (n *simulatedNode) work(ctx context.Context) {
	for {
		name, stop := n.queue.Get()
		if stop {
			return
		}
		if err := n.sync(ctx, name); err != nil {
			klog.ErrorS(err, "pod", "pod", name)
			n.queue.AddRateLimited(name)
		} else {
			n.queue.Forget(name)
		}
		n.queue.Done(name)
	}
}

// sync brings one pod to where it should be: gone, or marked.
func (n *simulatedNode) sync(ctx context.Context, name cache.ObjectName) error {
	pod, err := n.pods.Pods(name.Namespace).Get(name.Name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	client := n.client.CoreV1().Pods(pod.Namespace)
	if pod.DeletionTimestamp != nil {
		err := client.Delete(ctx, pod.Name, metav1.DeleteOptions{
			GracePeriodSeconds: ptr.To[int64](0),
			Preconditions:      metav1.NewUIDPreconditions(string(pod.UID)),
		})
		return ignoreGone(err)
	}
	status, err := simulate(pod, n.nextAddress, metav1.Now())
	if err != nil || apiequality.Semantic.DeepEqual(status, &pod.Status) {
		return err
	}
	marked := pod.DeepCopy()
	marked.Status = *status
	_, err = client.UpdateStatus(ctx, marked, metav1.UpdateOptions{})
	return ignoreGone(err)
}

// ignoreGone forgives an answer to news we have not heard yet: the pod was deleted, or changed, and
// the watch will bring it here again.
func ignoreGone(err error) error {
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// beat renews the lease, and writes the Node when it is missing, not Ready, or of an earlier run.
func (n *simulatedNode) beat(ctx context.Context) {
	if err := n.register(ctx); err != nil {
		klog.ErrorS(err, "registering the node")
	}
	if err := n.renewLease(ctx); err != nil {
		klog.ErrorS(err, "renewing the lease")
	}
}

func (n *simulatedNode) register(ctx context.Context) error {
	nodes := n.client.CoreV1().Nodes()
	wanted := nodeObject(metav1.Now())
	node, err := nodes.Get(ctx, nodeName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = nodes.Create(ctx, wanted, metav1.CreateOptions{})
		return err
	}
	if err != nil {
		return err
	}
	if node.Status.NodeInfo.BootID == bootID && isReady(node) {
		return nil
	}
	node.Status = wanted.Status
	_, err = nodes.UpdateStatus(ctx, node, metav1.UpdateOptions{})
	return err
}

func (n *simulatedNode) renewLease(ctx context.Context) error {
	leases := n.client.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	spec := coordinationv1.LeaseSpec{
		HolderIdentity:       ptr.To(nodeName),
		LeaseDurationSeconds: ptr.To(int32(leaseDuration.Seconds())),
		RenewTime:            ptr.To(metav1.NowMicro()),
	}
	lease, err := leases.Get(ctx, nodeName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		lease = &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: nodeName}, Spec: spec}
		_, err = leases.Create(ctx, lease, metav1.CreateOptions{})
		return err
	}
	if err != nil {
		return err
	}
	lease.Spec = spec
	_, err = leases.Update(ctx, lease, metav1.UpdateOptions{})
	return err
}

// Pod addresses come one after the other from 198.18.0.0/15, which no real network routes (RFC 2544).
const (
	firstAddress = 198<<24 | 18<<16
	addressCount = 1 << 17
)

func (n *simulatedNode) nextAddress() string {
	a := firstAddress + n.addresses.Add(1)%addressCount
	return fmt.Sprintf("%d.%d.%d.%d", a>>24, a>>16&255, a>>8&255, a&255)
}

// rememberAddresses goes on after the highest address of the pods already there.
func (n *simulatedNode) rememberAddresses(pods []any) {
	for _, object := range pods {
		pod, ok := object.(*corev1.Pod)
		if !ok {
			continue
		}
		var a, b, c, d uint32
		if _, err := fmt.Sscanf(pod.Status.PodIP, "%d.%d.%d.%d", &a, &b, &c, &d); err == nil {
			n.addresses.Store(max(n.addresses.Load(), (a<<24|b<<16|c<<8|d)-firstAddress))
		}
	}
}

package main

import (
	"fmt"
	"runtime"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/component-base/version"
)

// simulateAnnotation, on a pod, asks the simulated node for something other than health.
const simulateAnnotation = "devkube.conclave.internal/simulate"

// bootID tells this run of the node from the one before.
var bootID = string(uuid.NewUUID())

// outcome is what a pod is marked as.
type outcome struct {
	phase corev1.PodPhase
	ready corev1.ConditionStatus
	state func(started metav1.Time) corev1.ContainerState
}

// outcomes are the values of simulateAnnotation; no annotation means "ready".
var outcomes = map[string]outcome{
	"ready":       {corev1.PodRunning, corev1.ConditionTrue, running},
	"unready":     {corev1.PodRunning, corev1.ConditionFalse, running},
	"crash":       {corev1.PodRunning, corev1.ConditionFalse, waiting("CrashLoopBackOff")},
	"image-error": {corev1.PodPending, corev1.ConditionFalse, waiting("ImagePullBackOff")},
	"succeed":     {corev1.PodSucceeded, corev1.ConditionFalse, exited(0, "Completed")},
	"fail":        {corev1.PodFailed, corev1.ConditionFalse, exited(1, "Error")},
}

func running(started metav1.Time) corev1.ContainerState {
	return corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: started}}
}

func waiting(reason string) func(metav1.Time) corev1.ContainerState {
	return func(metav1.Time) corev1.ContainerState {
		return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{
			Reason: reason, Message: "asked for by " + simulateAnnotation,
		}}
	}
}

func exited(code int32, reason string) func(metav1.Time) corev1.ContainerState {
	return func(started metav1.Time) corev1.ContainerState {
		return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			ExitCode: code, Reason: reason, StartedAt: started, FinishedAt: started,
		}}
	}
}

// simulate is the status a kubelet would report for pod, had it run it. The same pod gives the same
// status again, so that comparing the two says whether there is anything to write. A pod that ended
// stays as it ended; a value of the annotation that means nothing is an error, and marks nothing.
func simulate(pod *corev1.Pod, nextAddress func() string, now metav1.Time) (*corev1.PodStatus, error) {
	asked := pod.Annotations[simulateAnnotation]
	if asked == "" {
		asked = "ready"
	}
	result, ok := outcomes[asked]
	if !ok {
		return nil, fmt.Errorf("annotation %s: %q means nothing", simulateAnnotation, asked)
	}
	status := pod.Status.DeepCopy()
	if status.Phase == corev1.PodSucceeded || status.Phase == corev1.PodFailed {
		return status, nil
	}
	status.Phase = result.phase
	status.ObservedGeneration = pod.Generation
	if status.StartTime == nil {
		status.StartTime = &now
	}
	if status.PodIP == "" {
		status.HostIP, status.HostIPs = "127.0.0.1", []corev1.HostIP{{IP: "127.0.0.1"}}
		status.PodIP = nextAddress()
		if pod.Spec.HostNetwork {
			status.PodIP = status.HostIP
		}
		status.PodIPs = []corev1.PodIP{{IP: status.PodIP}}
	}
	for _, condition := range []corev1.PodConditionType{"PodReadyToStartContainers", corev1.PodInitialized} {
		setCondition(status, condition, corev1.ConditionTrue, now)
	}
	for _, condition := range []corev1.PodConditionType{corev1.ContainersReady, corev1.PodReady} {
		setCondition(status, condition, result.ready, now)
	}
	ready := result.ready == corev1.ConditionTrue
	status.ContainerStatuses = containers(pod, pod.Spec.Containers, ready, result.state(*status.StartTime))
	status.InitContainerStatuses = initContainers(pod, *status.StartTime)
	return status, nil
}

func setCondition(status *corev1.PodStatus, kind corev1.PodConditionType, value corev1.ConditionStatus, now metav1.Time) {
	for i := range status.Conditions {
		condition := &status.Conditions[i]
		if condition.Type == kind {
			if condition.Status != value {
				condition.Status, condition.LastTransitionTime = value, now
			}
			return
		}
	}
	status.Conditions = append(status.Conditions, corev1.PodCondition{Type: kind, Status: value, LastTransitionTime: now})
}

func containers(pod *corev1.Pod, specs []corev1.Container, ready bool, state corev1.ContainerState) []corev1.ContainerStatus {
	var all []corev1.ContainerStatus
	for _, spec := range specs {
		started := state.Running != nil
		all = append(all, corev1.ContainerStatus{
			Name: spec.Name, Image: spec.Image, ImageID: spec.Image, State: state, Ready: ready, Started: &started,
			ContainerID: fmt.Sprintf("simulated://%s/%s", pod.UID, spec.Name),
		})
	}
	return all
}

// initContainers are done, but for sidecars (restartPolicy Always), which run.
func initContainers(pod *corev1.Pod, started metav1.Time) []corev1.ContainerStatus {
	var all []corev1.ContainerStatus
	for _, spec := range pod.Spec.InitContainers {
		state := exited(0, "Completed")(started)
		if spec.RestartPolicy != nil && *spec.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			state = running(started)
		}
		all = append(all, containers(pod, []corev1.Container{spec}, true, state)...)
	}
	return all
}

// nodeObject is the Node that is registered: Ready, and roomier than any machine.
func nodeObject(now metav1.Time) *corev1.Node {
	room := corev1.ResourceList{
		corev1.ResourceCPU:              resource.MustParse("1000"),
		corev1.ResourceMemory:           resource.MustParse("4Ti"),
		corev1.ResourceEphemeralStorage: resource.MustParse("4Ti"),
		corev1.ResourcePods:             resource.MustParse("10000"),
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: nodeName,
			Labels: map[string]string{
				corev1.LabelHostname:                  nodeName,
				corev1.LabelOSStable:                  "linux",
				corev1.LabelArchStable:                runtime.GOARCH,
				"devkube.conclave.internal/simulated": "true",
			},
		},
		Status: corev1.NodeStatus{
			Capacity:    room,
			Allocatable: room,
			Addresses: []corev1.NodeAddress{
				{Type: corev1.NodeInternalIP, Address: "127.0.0.1"}, {Type: corev1.NodeHostName, Address: nodeName},
			},
			// Nothing listens on port 1: logs and exec fail at once rather than reach a stranger's 10250.
			DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: 1}},
			Conditions: []corev1.NodeCondition{{
				Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "Simulated",
				Message: "devkube marks pods Running and runs none", LastHeartbeatTime: now, LastTransitionTime: now,
			}},
			NodeInfo: corev1.NodeSystemInfo{
				BootID: bootID, KubeletVersion: version.Get().GitVersion + "-simulated", ContainerRuntimeVersion: "simulated://0",
				OperatingSystem: "linux", Architecture: runtime.GOARCH, OSImage: "simulated", KernelVersion: "simulated",
			},
		},
	}
}

func isReady(node *corev1.Node) bool {
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

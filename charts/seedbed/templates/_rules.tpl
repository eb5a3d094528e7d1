{{/* What the operator may do: a test compares these rules with the operator's own list of what it needs. */}}

{{- define "seedbed.profileRules" }}
- apiGroups: [seedbed.dev]
  resources: [trainingprofiles]
  verbs: [list, watch]
- apiGroups: [seedbed.dev]
  resources: [trainingprofiles/status]
  verbs: [patch]
{{- end }}

{{/* In each namespace of jobs. Secrets are created and never read; pods are created and deleted, never changed. */}}
{{- define "seedbed.jobRules" }}
- apiGroups: [seedbed.dev]
  resources: [trainingjobs, sweepjobs]
  verbs: [get, list, watch, delete]
- apiGroups: [seedbed.dev]
  resources: [trainingjobs/status, sweepjobs/status]
  verbs: [patch]
- apiGroups: [seedbed.dev]
  resources: [trainingjobs/finalizers, sweepjobs/finalizers]
  verbs: [update]
- apiGroups: [""] # their labels, which a profile may select; in a Role, that of the namespace itself
  resources: [namespaces]
  verbs: [get]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, create, delete]
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
- apiGroups: [""]
  resources: [services]
  verbs: [get, create]
- apiGroups: [""]
  resources: [secrets]
  verbs: [create]
{{- if .Values.networkPolicy.enabled }}
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, create, update]
{{- end }}
- apiGroups: [""]
  resources: [events]
  verbs: [list]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end }}

{{/* In the release's own namespace. */}}
{{- define "seedbed.leaseRules" }}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [get, create, update]
{{- end }}

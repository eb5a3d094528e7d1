{{/* What another release has already: said before anything is written, with what to type. `helm template` sees no cluster. */}}

{{- define "seedbed.checkDefinitions" -}}
{{- $names := list "sweepjobs.seedbed.dev" "trainingjobs.seedbed.dev" "trainingprofiles.seedbed.dev" }}
{{- $release := printf "%s/%s" .Release.Namespace .Release.Name }}
{{- range $names }}
{{- with lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" . }}
{{- $annotations := default dict .metadata.annotations }}
{{- $owner := printf "%s/%s" (get $annotations "meta.helm.sh/release-namespace") (get $annotations "meta.helm.sh/release-name") }}
{{- if ne $owner $release }}
{{- $of := ternary "no release of Helm" (printf "the release %s" $owner) (eq $owner "/") }}
{{- $take := printf "kubectl label crd %s app.kubernetes.io/managed-by=Helm --overwrite && kubectl annotate crd %s meta.helm.sh/release-namespace=%s meta.helm.sh/release-name=%s --overwrite" (join " " $names) (join " " $names) $.Release.Namespace $.Release.Name }}
{{- fail (printf "the definition %s is there and belongs to %s: leave it to that with crds.install=false, or give all three to this release: %s" .metadata.name $of $take) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Two operators that watch the same namespace would both run its jobs. Who may not see Deployments elsewhere creates no roles either. */}}
{{- define "seedbed.checkOperators" -}}
{{- $own := printf "%s/%s" .Release.Namespace .Release.Name }}
{{- range (lookup "apps/v1" "Deployment" "" "").items }}
{{- $labels := default dict .metadata.labels }}
{{- $other := printf "%s/%s" .metadata.namespace (get $labels "app.kubernetes.io/instance") }}
{{- if and (hasPrefix (printf "%s-" $.Chart.Name) (get $labels "helm.sh/chart")) (eq (get $labels "app.kubernetes.io/component") "operator") (ne $other $own) }}
{{- $watched := list }}
{{- range (first .spec.template.spec.containers).env }}
{{- if eq .name "SEEDBED_OPERATOR_NAMESPACES" }}{{ $watched = splitList " " .value }}{{ end }}
{{- end }}
{{- $both := ternary $watched $.Values.watchNamespaces (empty $.Values.watchNamespaces) }}
{{- if and $watched $.Values.watchNamespaces }}
{{- $both = list }}
{{- range $watched }}{{ if has . $.Values.watchNamespaces }}{{ $both = append $both . }}{{ end }}{{ end }}
{{- end }}
{{- if or $both (and (empty $watched) (empty $.Values.watchNamespaces)) }}
{{- $where := ternary (printf "of %s" (join ", " $both)) "of all namespaces" (not (empty $both)) }}
{{- fail (printf "the operator of the release %s runs the jobs %s already, and two would run them twice: uninstall that release, or give each of the two its own watchNamespaces" $other $where) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

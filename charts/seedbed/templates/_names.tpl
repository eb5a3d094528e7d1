{{/* Names and labels, by the conventions of Kubernetes and Helm. */}}

{{- define "seedbed.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "seedbed.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "seedbed.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (printf "%s-operator" (include "seedbed.fullname" .)) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* Cluster-scoped names carry the namespace, so that two releases do not meet. */}}
{{- define "seedbed.clusterName" -}}
{{- printf "%s:%s" .Release.Namespace (include "seedbed.fullname" .) }}
{{- end }}

{{- define "seedbed.labels" -}}
{{- include "seedbed.labelsWith" (dict "root" . "own" dict "more" dict) }}
{{- end }}

{{/* Labels of an object, each key once: those that selectors and Helm read win over `more`, and these over commonLabels. */}}
{{- define "seedbed.labelsWith" -}}
{{- $own := merge (dict) .own (include "seedbed.recommended" .root | fromYaml) }}
{{- merge (dict) $own .more .root.Values.commonLabels | toYaml }}
{{- end }}

{{- define "seedbed.recommended" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{ include "seedbed.selector" . }}
{{- end }}

{{- define "seedbed.operatorLabels" -}}
{{- include "seedbed.labelsWith" (dict "root" .root "own" (dict "app.kubernetes.io/component" "operator") "more" .more) }}
{{- end }}

{{- define "seedbed.selector" -}}
app.kubernetes.io/name: {{ include "seedbed.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "seedbed.operatorSelector" -}}
{{ include "seedbed.selector" . }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "seedbed.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* Values that are there in any case: where one is null, or comes from a release that did not know it (`--reuse-values`),
it is the default of values.yaml, which files/values.yaml repeats. Every template includes this first. */}}

{{- define "seedbed.withDefaults" -}}
{{- $defaults := .Files.Get "files/values.yaml" | fromYaml }}
{{- include "seedbed.withoutNulls" .Values }}
{{- include "seedbed.filled" (dict "values" .Values "defaults" $defaults) }}
{{- end }}

{{- define "seedbed.withoutNulls" -}}
{{- $values := . }}
{{- range $name, $value := . }}
{{- if kindIs "invalid" $value }}
{{- $_ := unset $values $name }}
{{- else if kindIs "map" $value }}
{{- include "seedbed.withoutNulls" $value }}
{{- end }}
{{- end }}
{{- end }}

{{/* What is passed on as a whole, such as resources, is taken as it was given: null there takes a default away. */}}
{{- define "seedbed.filled" -}}
{{- $values := .values }}
{{- range $name, $default := .defaults }}
{{- if not (hasKey $values $name) }}
{{- $_ := set $values $name $default }}
{{- else if and (kindIs "map" $default) (not (has $name (list "labels" "podSecurityContext" "resources" "securityContext"))) }}
{{- include "seedbed.filled" (dict "values" (get $values $name) "defaults" $default) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "dryrun.labels" -}}
app.kubernetes.io/name: dryrun-operator
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "dryrun.selector" -}}
app.kubernetes.io/name: dryrun-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* The operator's image, which also contains the agent of every run's pods. */}}
{{- define "dryrun.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end }}
{{- end }}
{{- end }}

{{/* The operator's user name. */}}
{{- define "dryrun.username" -}}
system:serviceaccount:{{ .Release.Namespace }}:dryrun-operator
{{- end }}

{{/* connector.yaml: the user's config and what only the chart knows. A user's own word always wins. */}}
{{- define "failover.config" -}}
{{- $config := deepCopy .Values.config }}
{{- $dir := "/etc/failover/secrets" }}
{{- $ours := dict
  "rules" "/etc/failover/rules"
  "admin" (dict "listen" "0.0.0.0:9090")
  "privacy" (dict "pepper_file" (printf "%s/pepper" $dir))
  "routee" (dict "application_secret_file" (printf "%s/application-secret" $dir)) }}
{{- if dig "routee" "otp" "application_id" "" $config }}
{{- $_ := set $ours.routee "otp" (dict "application_secret_file" (printf "%s/otp-application-secret" $dir)) }}
{{- end }}
{{- if include "failover.callbacks" . }}
{{- $_ := set $ours "callbacks" (dict "listen" "0.0.0.0:8080" "secrets_file" (printf "%s/callback-secrets" $dir)) }}
{{- end }}
{{- toYaml (mergeOverwrite $ours $config) }}
{{- end }}

{{- define "failover.rules" -}}
{{- if not .Values.rules }}
{{- fail "give rules, or name a ConfigMap with rulesConfigMap" }}
{{- end }}
{{- toYaml .Values.rules }}
{{- end }}

{{/* "yes" where Routee is to call us. */}}
{{- define "failover.callbacks" -}}
{{- if dig "callbacks" "public_url" "" .Values.config }}yes{{ end }}
{{- end }}

{{- define "failover.secretData" -}}
{{- $what := "or name a Secret with secrets.existingSecret" }}
application-secret: {{ required (printf "set secrets.applicationSecret, %s" $what) .Values.secrets.applicationSecret | quote }}
pepper: {{ required (printf "set secrets.pepper (16 bytes or more), %s" $what) .Values.secrets.pepper | quote }}
{{- if dig "routee" "otp" "application_id" "" .Values.config }}
otp-application-secret: {{ required (printf "set secrets.otpApplicationSecret, %s" $what) .Values.secrets.otpApplicationSecret | quote }}
{{- end }}
{{- if include "failover.callbacks" . }}
callback-secrets: {{ required (printf "set secrets.callbackSecrets, %s" $what) (join "\n" .Values.secrets.callbackSecrets) | quote }}
{{- end }}
{{- range $name, $value := .Values.secrets.extra }}
{{ $name }}: {{ $value | quote }}
{{- end }}
{{- end }}

{{/* Seconds of config.shutdown.grace; refuses one that the pod would not be given. */}}
{{- define "failover.checkGrace" -}}
{{- $grace := dig "shutdown" "grace" "30s" .Values.config }}
{{- $number := regexFind "^[0-9.]+" $grace | float64 }}
{{- $seconds := mulf $number (get (dict "ms" 0.001 "s" 1.0 "m" 60.0 "h" 3600.0) (regexFind "[a-z]+$" $grace)) }}
{{- if ge $seconds (float64 .Values.terminationGracePeriodSeconds) }}
{{- fail (printf "terminationGracePeriodSeconds (%v) must be longer than config.shutdown.grace (%s)" .Values.terminationGracePeriodSeconds $grace) }}
{{- end }}
{{- end }}

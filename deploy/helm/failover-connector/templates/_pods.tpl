{{/* A Deployment of one role. Takes (dict "root" $ "component" "worker" "role" "all" "pods" .Values.worker "callbacks" true). */}}
{{- define "failover.deployment" -}}
{{- $root := .root }}
{{- include "failover.checkGrace" $root }}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "failover.fullname" $root }}-{{ .component }}
  labels:
    {{- include "failover.labels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
spec:
  replicas: {{ .pods.replicas }}
  minReadySeconds: 5
  revisionHistoryLimit: 5
  strategy:
    type: RollingUpdate
    rollingUpdate: {{ toYaml .strategy | nindent 6 }}
  selector:
    matchLabels:
      {{- include "failover.selector" $root | nindent 6 }}
      app.kubernetes.io/component: {{ .component }}
  template:
    metadata:
      labels:
        {{- include "failover.labels" $root | nindent 8 }}
        app.kubernetes.io/component: {{ .component }}
        {{- if .callbacks }}
        failover-connector/callbacks: "yes"
        {{- end }}
      annotations:
        # All are read once, at the start: a change of one rolls the pods.
        checksum/config: {{ include "failover.config" $root | sha256sum }}
        checksum/rules: {{ toYaml $root.Values.rules | sha256sum }}
        checksum/secret: {{ toYaml $root.Values.secrets | sha256sum }}
        {{- with .pods.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      {{- include "failover.podSpec" $root | nindent 6 }}
      serviceAccountName: {{ include "failover.serviceAccount" $root }}
      terminationGracePeriodSeconds: {{ $root.Values.terminationGracePeriodSeconds }}
      topologySpreadConstraints:
        {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
        - topologyKey: {{ . }}
          maxSkew: 1
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels:
              {{- include "failover.selector" $root | nindent 14 }}
              app.kubernetes.io/component: {{ $.component }}
        {{- end }}
      {{- range $key := list "nodeSelector" "tolerations" "affinity" }}
      {{- with get $.pods $key }}
      {{ $key }}: {{ toYaml . | nindent 8 }}
      {{- end }}
      {{- end }}
      containers:
        - name: connector
          {{- include "failover.container" $root | nindent 10 }}
          args: ["run", "--role", {{ .role | quote }}, "--config", "/etc/failover/config/connector.yaml"]
          ports:
            - {name: admin, containerPort: 9090}
            {{- if .callbacks }}
            - {name: callbacks, containerPort: 8080}
            {{- end }}
          {{- if .callbacks }}
          # Load balancers learn only after a moment that the pod goes: until then its public port still answers.
          lifecycle:
            preStop:
              exec: {command: [sleep, "5"]}
          {{- end }}
          # A claim reads its journal to the end before the pod has started: up to five minutes.
          startupProbe:
            httpGet: {path: /startupz, port: admin}
            periodSeconds: 5
            timeoutSeconds: 3
            failureThreshold: 60
          livenessProbe:
            httpGet: {path: /healthz, port: admin}
            periodSeconds: 10
            timeoutSeconds: 3
            failureThreshold: 6
          readinessProbe:
            httpGet: {path: /readyz, port: admin}
            periodSeconds: 5
            timeoutSeconds: 3
            failureThreshold: 2
          resources: {{ toYaml .pods.resources | nindent 12 }}
          volumeMounts: {{ include "failover.mounts" $root | nindent 12 }}
      volumes: {{ include "failover.volumes" (dict "config" (include "failover.fullname" $root) "secret" (include "failover.secretName" $root) "rules" (include "failover.rulesName" $root)) | nindent 8 }}
{{- end }}

{{/* What all pods have in common. */}}
{{- define "failover.podSpec" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "failover.container" -}}
image: {{ include "failover.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- with .Values.env }}
env: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Whole folders, never a subPath, whose content would stay that of the pod's start. */}}
{{- define "failover.mounts" -}}
- {name: config, mountPath: /etc/failover/config, readOnly: true}
- {name: rules, mountPath: /etc/failover/rules, readOnly: true}
- {name: secrets, mountPath: /etc/failover/secrets, readOnly: true}
- {name: tmp, mountPath: /tmp}
{{- end }}

{{- define "failover.volumes" -}}
- {name: config, configMap: {name: {{ .config }}}}
- {name: rules, configMap: {name: {{ .rules }}}}
- {name: secrets, secret: {secretName: {{ .secret }}, defaultMode: 0440}}
- {name: tmp, emptyDir: {sizeLimit: 64Mi}}
{{- end }}

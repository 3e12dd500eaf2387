# Two stages: the first installs hash-checked wheels and our own into /opt/venv, the second is Python and that folder, nothing else.
FROM python:3.13-slim AS build
WORKDIR /src
ENV PIP_CACHE_DIR=/var/cache/pip
RUN python -m venv /opt/build && python -m venv --without-pip /opt/venv
COPY requirements.lock requirements-build.lock ./
RUN --mount=type=cache,target=/var/cache/pip \
    /opt/build/bin/pip install --quiet --require-hashes --only-binary=:all: -r requirements-build.lock \
    && /opt/build/bin/pip --python /opt/venv/bin/python install --quiet --require-hashes --only-binary=:all: -r requirements.lock
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY avro avro
COPY deploy/local deploy/local
COPY connector connector
RUN /opt/build/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /dist . \
    && /opt/build/bin/pip --python /opt/venv/bin/python install --quiet --no-deps --no-index /dist/*.whl

FROM python:3.13-slim
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="failover-connector" \
      org.opencontainers.image.description="Kafka connector for Routee Failover" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# A number, so that Kubernetes can see that it is not root.
USER 10001:10001
WORKDIR /etc/failover
# 8080: Routee's callbacks, the public port. 9090: metrics, health and the console, never public.
EXPOSE 8080 9090
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=6 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:9090/healthz', timeout=2).read()"]
ENTRYPOINT ["failover-connector"]
CMD ["run", "--config", "/etc/failover/connector.yaml"]

# The service and the indexer in one image. Runs as an ordinary user on a read-only root; only /data is written.
FROM python:3.11-slim-bookworm AS build

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python -m venv /opt/vitrine
COPY requirements.lock ./
RUN /opt/vitrine/bin/pip install --quiet --require-hashes --no-deps -r requirements.lock
COPY setup.cfg pyproject.toml README.md LICENSE ./
COPY indexer ./indexer
COPY service ./service
COPY vitrine ./vitrine
RUN /opt/vitrine/bin/pip install --quiet --no-deps --no-build-isolation .
# Such as pymilvus for --store milvus://, or ray[data] for --engine ray.
ARG EXTRAS=""
RUN test -z "$EXTRAS" || /opt/vitrine/bin/pip install --quiet "$EXTRAS"

FROM python:3.11-slim-bookworm

LABEL org.opencontainers.image.title="Vitrine" \
      org.opencontainers.image.description="Visual product recommendations" \
      org.opencontainers.image.licenses="MIT"
RUN useradd --system --uid 10001 --home-dir /data --create-home --shell /usr/sbin/nologin vitrine
COPY --from=build /opt/vitrine /opt/vitrine
ENV PATH=/opt/vitrine/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TF_CPP_MIN_LOG_LEVEL=2 \
    VITRINE_INDEX=/data/index \
    VITRINE_HOST=0.0.0.0 \
    VITRINE_PORT=8000
USER 10001
WORKDIR /data
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
  CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ['VITRINE_PORT']}/healthz\", timeout=2)"]
CMD ["vitrine-service"]

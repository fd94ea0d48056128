# Serves the folder mounted at /data, read-only if you like; the index lives in the volume /index.
FROM python:3.13-slim

ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1

WORKDIR /opt/dicomulus
COPY requirements/run.txt requirements/run.txt
RUN pip install --compile --require-hashes --no-deps -r requirements/run.txt

COPY pyproject.toml README.md LICENSE ./
COPY layers/core/python layers/core/python
RUN pip install --compile --no-deps --no-build-isolation .

RUN useradd --system --uid 10001 --home-dir /index dicomulus \
    && install -d -o dicomulus -g dicomulus /index /data
USER dicomulus
VOLUME ["/index"]
EXPOSE 8080
STOPSIGNAL SIGINT

# An address other than loopback wants authentication or an explicit --insecure, so say one of them:
# compose.yaml shows how to publish to this machine alone.
ENTRYPOINT ["dicomulus"]
CMD ["serve", "/data", "--data-dir", "/index", "--host", "0.0.0.0"]

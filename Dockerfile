# hkpguard in a container. The first stage compiles a wheel and installs it, the second one only runs it.
#   docker build -t hkpguard .
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
# What changes rarely comes first: the packages stay in the cache of layers.
COPY requirements requirements
RUN python -m venv /build \
    && /build/bin/pip install --require-hashes --only-binary :all: --requirement requirements/build.lock
RUN python -m venv --without-pip /opt/hkpguard \
    && /build/bin/pip --python /opt/hkpguard/bin/python install \
        --require-hashes --only-binary :all: --requirement requirements/runtime.lock
COPY pyproject.toml setup.py README.md LICENSE ./
COPY fastpath fastpath
COPY geo geo
COPY models models
COPY proxy proxy
RUN /build/bin/pip wheel --no-build-isolation --no-deps --wheel-dir /wheel . \
    && /build/bin/pip --python /opt/hkpguard/bin/python install --no-deps --no-index /wheel/*.whl

FROM ${PYTHON}
COPY --from=build /opt/hkpguard /opt/hkpguard
ENV PATH=/opt/hkpguard/bin:$PATH \
    HKPGUARD_LISTEN=0.0.0.0:11371 \
    HKPGUARD_STATE_DIR=/state
# Only a number: no such user need exist. It owns the folder of the bans, and a volume there.
RUN install --directory --owner=65532 --group=65532 --mode=0700 /state
USER 65532:65532
EXPOSE 11371
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["python", "-c", "import urllib.request as http; http.urlopen('http://127.0.0.1:11380/readyz', timeout=2)"]
ENTRYPOINT ["hkpguard"]
CMD ["serve"]

# bgpctl for containers. `docker build -t bgpctl .` where registries can be reached; `tools/image` anywhere else.
# What a container needs, and why, is in docs/containers.md.
ARG BASE_IMAGE=debian:bookworm-slim

FROM ${BASE_IMAGE} AS base
# A base that tools/base-image made has them already, and nothing is fetched.
RUN command -v python3 && command -v ip && command -v nft && command -v ping && command -v bird || { apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        python3 iproute2 nftables iputils-ping bird2 \
    && apt-get clean && rm -rf /var/lib/apt/lists/*; }

FROM base AS build
WORKDIR /src
COPY . .
# Its version, where `wheels` is missing: no history is copied.
ARG VERSION=0.0
# Wheels that tools/image put there are enough: no index is asked then.
RUN test -d wheels || { apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-pip \
    && pip download --quiet --require-hashes --no-deps --only-binary :all: --dest wheels --requirement locks/image.txt \
    && SETUPTOOLS_SCM_PRETEND_VERSION_FOR_BGPCTL=$VERSION \
        pip wheel --quiet --no-index --find-links wheels --no-deps --wheel-dir wheels .; }
# pip runs out of its own wheel. The last stage takes no part of it along.
RUN PYTHONPATH="$(echo wheels/pip-*.whl)" python3 -m pip install --quiet --no-index --find-links wheels \
    --root-user-action ignore --break-system-packages bgpctl

FROM base
COPY --from=build /usr/local /usr/local
ENV BGPCTL_AGENT_RUN_HEALTH=127.0.0.1:9099
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD \
    ["python3", "-IS", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:9099/liveness')"]
ENTRYPOINT ["bgpctl"]
CMD ["agent", "run"]

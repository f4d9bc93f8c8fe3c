# How to build and what is in it: docs/IMAGE.md.
ARG BUILD_IMAGE=docker.io/library/python:3.13-slim-trixie
ARG BASE_IMAGE=gcr.io/distroless/python3-debian13:nonroot

FROM ${BUILD_IMAGE} AS build
# Set it, with wheels in image/wheels, to build without network.
ARG PIP_NO_INDEX
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY image/ image/
RUN python3 -m pip install --require-hashes --no-deps --only-binary=:all: \
        --find-links=image/wheels --target=tools --requirement=image/build.lock \
    && python3 -m pip install --require-hashes --no-deps --only-binary=:all: --no-compile \
        --find-links=image/wheels --target=lib --requirement=image/requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY cgexporter/ cgexporter/
RUN PYTHONPATH=tools python3 -m pip install --no-deps --no-index --no-build-isolation --no-compile \
        --target=lib . \
    && rm -rf lib/bin \
    && chmod -R u=rwX,go=rX lib

FROM ${BASE_IMAGE} AS compiled
USER 0:0
COPY --from=build /build/lib /opt/cgexporter
COPY image/compile.py /build/
ENV PYTHONPATH=/opt/cgexporter PYTHONPYCACHEPREFIX=/opt/compiled
RUN ["/usr/bin/python3", "-s", "/build/compile.py"]
USER 65534:65534

FROM ${BASE_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="cgexporter" \
      org.opencontainers.image.description="How a Linux host enforces and accounts the resources of its containers" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/cgexporter/cgexporter" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
COPY --from=build /build/lib /opt/cgexporter
COPY --from=compiled /opt/compiled /opt/compiled
ENV PYTHONPATH=/opt/cgexporter PYTHONPYCACHEPREFIX=/opt/compiled
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /
USER 65534:65534
EXPOSE 9753
# -P: nothing is imported from the working directory; -s: nor from a user's.
ENTRYPOINT ["/usr/bin/python3", "-P", "-s", "-m", "cgexporter"]

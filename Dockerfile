# syntax=docker/dockerfile:1
#
#   docker buildx build --platform linux/amd64,linux/arm64 --build-arg RELEASE=v1.2.3 \
#     --build-arg REVISION=$(git rev-parse --short=12 HEAD) -t dynproxy:1.2.3 .
#
# 'release/image VERSION' makes the same image without an engine: it reads the
# last stage of this file. docs/container.md says how to run it.

# golang:1.26.8-bookworm. To follow a newer one:
#   docker buildx imagetools inspect golang:1.26-bookworm --format '{{.Manifest.Digest}}'
ARG GO_IMAGE=docker.io/library/golang:1.26.8-bookworm@sha256:dc9ad6c05acc7a88e5b71bde60a5fe3bd4b9f0db209011711b464107438a8107

# The compiler runs as the machine that builds, and makes programs for any other.
FROM --platform=$BUILDPLATFORM ${GO_IMAGE} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG TARGETOS=linux
ARG TARGETARCH=amd64
ARG RELEASE=development
ARG REVISION=unknown
RUN CGO_ENABLED=0 GOOS=${TARGETOS} GOARCH=${TARGETARCH} go build -trimpath -buildvcs=false -ldflags "-s -w -X main.release=${RELEASE} -X main.revision=${REVISION}" -o /out/dynproxy ./cmd/dynproxy
# Roots of trust, and places for settings, for what is kept and for large bodies.
# Group 0 may write there too, since some clusters choose the user themselves.
RUN mkdir -m 755 -p /out/etc/ssl/certs /out/etc/dynproxy /out/var/lib /out/var/spool \
 && cp -L /etc/ssl/certs/ca-certificates.crt /out/etc/ssl/certs/ && chmod 644 /out/etc/ssl/certs/ca-certificates.crt \
 && mkdir -m 770 /out/etc/dynproxy/tenants /out/etc/dynproxy/callers /out/var/lib/dynproxy /out/var/spool/dynproxy \
 && chown 65532:0 /out/etc/dynproxy/tenants /out/etc/dynproxy/callers /out/var/lib/dynproxy /out/var/spool/dynproxy \
 && mkdir -m 777 /out/tmp && chmod 1777 /out/tmp

# Nothing but the program and these: no shell, no package, no other user.
FROM scratch
ARG RELEASE=development
ARG REVISION=unknown
COPY --from=build /out/ /
LABEL org.opencontainers.image.title="dynproxy" \
      org.opencontainers.image.description="Lets applications that speak plain HTTP call Microsoft Dataverse" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${RELEASE}" \
      org.opencontainers.image.revision="${REVISION}"
# Loopback inside a container is reached by nobody. So it listens on all
# addresses, and asks who may call, and for the operators' password.
# "container" tells the program where it runs, as it tells systemd.
ENV container=oci \
    DYNPROXY_LISTEN=:8080 \
    DYNPROXY_OPS_LISTEN=:8081 \
    DYNPROXY_STATE_DIR=/var/lib/dynproxy \
    DYNPROXY_SPOOL_DIR=/var/spool/dynproxy
USER 65532:65532
EXPOSE 8080 8081
VOLUME ["/var/lib/dynproxy", "/var/spool/dynproxy"]
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s CMD ["/dynproxy", "health"]
ENTRYPOINT ["/dynproxy"]
CMD ["serve"]

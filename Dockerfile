FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG RELEASE=development
ARG REVISION=unknown
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w -X main.release=${RELEASE} -X main.revision=${REVISION}" -o /out/dynproxy ./cmd/dynproxy
RUN mkdir -m 1777 /out/tmp

# Nothing but the program, the roots of trust, and a place for large bodies.
FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/ /
USER 65532:65532
EXPOSE 8080 8081
HEALTHCHECK --interval=10s --timeout=6s CMD ["/dynproxy", "health"]
ENTRYPOINT ["/dynproxy"]
CMD ["serve"]

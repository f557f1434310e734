# The broker in an image of its own: one static binary, nothing else.
#
#   docker build -t ottla .
#   docker run -p 9092:9092 -v ottla:/var/lib/ottla ottla --override \
#       listeners=PLAINTEXT://0.0.0.0:9092,CONTROLLER://127.0.0.1:9093
#
# What stands behind the name of the image is given to `ottla`. Clients are told to connect to
# localhost:9092 unless advertised.listeners says otherwise. The stage `compat`, which the broker's image
# does not need, holds the binary and all clients of compat-tests with their toolchains.
FROM rust:1.95-slim-bookworm AS build
ARG PROFILE=dist
RUN apt-get update -q && apt-get install -y -q --no-install-recommends musl-tools \
    && rustup target add "$(uname -m)-unknown-linux-musl"
WORKDIR /ottla
COPY Cargo.toml Cargo.lock ./
COPY src src
COPY tests tests
RUN target=$(uname -m)-unknown-linux-musl \
    && cargo build --quiet --locked --profile "$PROFILE" --package ottla --target "$target" \
    && mkdir -p /image/var/lib/ottla /image/tmp \
    && cp "target/$target/$PROFILE/ottla" /image/

FROM golang:1.26-bookworm AS go
FROM node:20-bookworm-slim AS node

FROM rust:1.95-slim-bookworm AS compat
RUN apt-get update -q && apt-get install -y -q --no-install-recommends ca-certificates g++ kcat \
    libssl-dev libzstd-dev make maven openjdk-17-jdk-headless pkg-config python3 python3-venv zlib1g-dev
COPY --from=go /usr/local/go /usr/local/go
COPY --from=node /usr/local/bin /usr/local/bin
COPY --from=node /usr/local/lib/node_modules /usr/local/lib/node_modules
ENV PATH=/usr/local/go/bin:$PATH OTTLA_CACHE=/var/cache/ottla OTTLA_BIN=/usr/local/bin/ottla
WORKDIR /ottla
COPY scripts/install-test-tools scripts/compat scripts/
COPY tests/clients/requirements.txt tests/clients/pom.xml tests/clients/
COPY compat-tests compat-tests
RUN scripts/install-test-tools python java kcat go node rdkafka \
    && rm -rf /var/cache/ottla/go /var/cache/ottla/npm /var/cache/ottla/rdkafka-target
COPY --from=build /image/ottla /usr/local/bin/
COPY README.md ./
ENTRYPOINT ["scripts/compat"]

FROM scratch AS broker
COPY --from=build /image /
VOLUME /var/lib/ottla
EXPOSE 9092
ENTRYPOINT ["/ottla", "--override", "log.dirs=/var/lib/ottla"]

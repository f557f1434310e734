# The broker in an image of its own: one static binary, nothing else.
#
#   docker build -t ottla .
#   docker run -p 9092:9092 -v ottla:/var/lib/ottla ottla --override \
#       listeners=PLAINTEXT://0.0.0.0:9092,CONTROLLER://127.0.0.1:9093
#
# What stands behind the name of the image is given to `ottla`. Clients are told to connect to
# localhost:9092 unless advertised.listeners says otherwise.
FROM rust:1.95-slim-bookworm AS build
ARG PROFILE=dist
ARG TARGET=x86_64-unknown-linux-musl
RUN apt-get update -q && apt-get install -y -q --no-install-recommends musl-tools \
    && rustup target add "$TARGET"
WORKDIR /ottla
COPY Cargo.toml Cargo.lock ./
COPY src src
COPY tests tests
RUN cargo build --quiet --locked --profile "$PROFILE" --package ottla --target "$TARGET" \
    && mkdir -p /image/var/lib/ottla /image/tmp \
    && cp "target/$TARGET/$PROFILE/ottla" /image/

FROM scratch
COPY --from=build /image /
VOLUME /var/lib/ottla
EXPOSE 9092
ENTRYPOINT ["/ottla", "--override", "log.dirs=/var/lib/ottla"]

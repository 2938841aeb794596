# djr in an image: built from nothing in one stage, the binary alone in the other.
#
#   docker build -t djr .
#   docker run --rm -u "$(id -u):$(id -g)" -v "$PWD:/data" djr run recipe.yaml
FROM rust:1.95-slim-bookworm AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends build-essential cmake nasm \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bin djr
# The demo is the image's test: it ends with 1, since its rows have planted defects.
RUN target/release/djr run fixtures/demo.yaml --quiet; test $? -eq 1 \
 && target/release/djr verify out/demo/clean.jsonl --quiet

FROM debian:bookworm-slim
RUN useradd --create-home --uid 10001 djr && mkdir /data && chown djr /data
COPY --from=build /src/target/release/djr /usr/local/bin/djr
USER djr
WORKDIR /data
ENTRYPOINT ["djr"]

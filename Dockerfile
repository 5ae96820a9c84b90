# The server runs its TypeScript as it stands: no build step, only production dependencies.
FROM node:24-slim

ENV NODE_ENV=production
WORKDIR /app

COPY package.json package-lock.json ./
# Node comes with the image, so nothing that would bring another one is installed, and no install script runs.
RUN npm ci --omit=dev --ignore-scripts --no-fund --no-audit && npm cache clean --force

COPY bin bin
COPY config config
COPY migrations migrations
COPY src src

RUN mkdir /data && chown node:node /data
USER node
VOLUME /data

ENV TURNOUT_HOST=0.0.0.0 \
    TURNOUT_PORT=8000 \
    TURNOUT_DATA_DIR=/data \
    NODE_COMPILE_CACHE=/tmp/turnout-compiled \
    PATH=/app/bin:$PATH
EXPOSE 8000

HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.TURNOUT_PORT}/health`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]

# A young generation of half the usual size: with several threads it is a large part of the memory.
CMD ["node", "--max-semi-space-size=8", "src/main.ts"]

// Express 5 with the parts most often named together: helmet, express-rate-limit, pino-http, prom-client, OpenTelemetry, Sentry.
// PORT, PEER_BARE=1 (express alone), PEER_RATIO, PEER_LIMIT, PEER_SENTRY, PEER_LOG, PEER_FRUGAL=1 (buffered log without the dump of all headers).
'use strict';
const settings = process.env;
const bare = settings.PEER_BARE === '1';
const frugal = settings.PEER_FRUGAL === '1';

function startTracing(exported) {
  const { NodeSDK } = require('@opentelemetry/sdk-node');
  const { HttpInstrumentation } = require('@opentelemetry/instrumentation-http');
  const { ExpressInstrumentation } = require('@opentelemetry/instrumentation-express');
  const { BatchSpanProcessor, ParentBasedSampler, TraceIdRatioBasedSampler, AlwaysOnSampler } = require('@opentelemetry/sdk-trace-base');
  const exporter = {
    export(spans, done) { exported.inc(spans.length); done({ code: 0 }); },
    shutdown() { return Promise.resolve(); },
    forceFlush() { return Promise.resolve(); },
  };
  const ratio = Number(settings.PEER_RATIO || 1);
  const sampler = ratio >= 1 ? new AlwaysOnSampler() : new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(ratio) });
  settings.OTEL_METRICS_EXPORTER = 'none';
  settings.OTEL_LOGS_EXPORTER = 'none';
  const instrumentations = [new HttpInstrumentation(), new ExpressInstrumentation()];
  new NodeSDK({ spanProcessors: [new BatchSpanProcessor(exporter)], sampler, instrumentations }).start();
}

function startSentry() {
  require('@sentry/node').init({ skipOpenTelemetrySetup: true, defaultIntegrations: false, integrations: [] }); // no DSN: nothing is sent
}

function accessLog() {
  const pino = require('pino');
  const brief = {
    req: (request) => ({ id: request.id, method: request.method, url: request.url, ip: request.remoteAddress }),
    res: (response) => ({ statusCode: response.statusCode }),
  };
  const destination = pino.destination({ dest: settings.PEER_LOG || 'peer_requests.log', sync: !frugal, minLength: frugal ? 4096 : 0 });
  if (frugal) setInterval(() => destination.flush(), 50).unref();
  return require('pino-http')({ ...(frugal ? { serializers: brief } : {}), logger: pino(destination) });
}

function addLayer(app, client) {
  const histogram = new client.Histogram({ name: 'http_request_duration_seconds', help: 'Server time', labelNames: ['method', 'route', 'status'] });
  const limit = Number(settings.PEER_LIMIT || 1e9);
  app.use(require('helmet')());
  app.use(require('express-rate-limit').rateLimit({ windowMs: 60000, limit, standardHeaders: true, legacyHeaders: false }));
  app.use(accessLog());
  app.use((request, response, next) => {
    const end = histogram.startTimer();
    response.on('finish', () => end({ method: request.method, route: request.route ? request.route.path : '', status: response.statusCode }));
    next();
  });
  app.get('/metrics', async (request, response) => { response.type('text/plain'); response.end(await client.register.metrics()); });
}

let client;
if (!bare) {
  client = require('prom-client');
  startTracing(new client.Counter({ name: 'spans_exported_total', help: 'Spans handed to the exporter' })); // before express is loaded
  if (settings.PEER_SENTRY === '1') startSentry();
}
const app = require('express')();
if (!bare) addLayer(app, client);
app.get('/hello', (request, response) => response.json({ message: 'hello' }));
app.listen(Number(settings.PORT), '127.0.0.1');

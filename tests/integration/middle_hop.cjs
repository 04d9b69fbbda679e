// A service with OpenTelemetry for JavaScript and nothing of PandaProbe: it hands every request on to UPSTREAM,
// and says which session it has read.
const http = require("node:http");
const { context, propagation, trace, SpanKind } = require("@opentelemetry/api");
const core = require("@opentelemetry/core");
const { NodeTracerProvider } = require("@opentelemetry/sdk-trace-node");

const propagators = [new core.W3CTraceContextPropagator(), new core.W3CBaggagePropagator()];
new NodeTracerProvider().register({ propagator: new core.CompositePropagator({ propagators }) });
const tracer = trace.getTracer("middle");

const server = http.createServer((request, response) => {
  const incoming = propagation.extract(context.active(), request.headers);
  const span = tracer.startSpan("middle", { kind: SpanKind.SERVER }, incoming);
  context.with(trace.setSpan(incoming, span), () => {
    const headers = {};
    propagation.inject(context.active(), headers);
    const read = propagation.getActiveBaggage().getEntry("session.id").value;
    http.get(process.env.UPSTREAM + request.url, { headers }, (upstream) => {
      upstream.resume();
      upstream.on("end", () => response.end(JSON.stringify({ read })));
    });
    span.end();
  });
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));

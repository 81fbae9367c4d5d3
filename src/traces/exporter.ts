import { hostname } from 'node:os';
import type { JournalEntry } from '../lifecycle/journal-entry.js';
import { MOULT_VERSION } from '../version.js';
import { RestartTraces } from './restart-traces.js';

const WAIT_MS = 1000;
/** How long the end of the supervisor may wait for an exporter that does not answer. */
const EXPORT_MS = 2000;
const MAX_WAITING = 512;

/** The packages of OpenTelemetry that are needed: peers, which whoever wants traces installs. */
const PACKAGES = [
  '@opentelemetry/api',
  '@opentelemetry/sdk-trace-base',
  '@opentelemetry/exporter-trace-otlp-proto',
  '@opentelemetry/resources',
];

/** Traces of restarts on their way to a collector. */
export interface TraceExport {
  add(entry: JournalEntry): void;
  /** Sends what is left, as far as that goes soon. */
  close(): Promise<void>;
}

/**
 * Exports each restart of a service as a trace, to where the environment says.
 * @throws Error that names the packages where one of them is not installed.
 */
export async function exportTraces(service: string): Promise<TraceExport> {
  const [api, sdk, otlp, resources] = await loadPackages();
  const resource = resources.resourceFromAttributes({
    'service.name': process.env.OTEL_SERVICE_NAME || service,
    'service.instance.id': `${hostname()}-${process.pid}`,
    'process.pid': process.pid,
    'process.runtime.name': 'nodejs',
    'process.runtime.version': process.versions.node,
    'host.name': hostname(),
  });
  const processor = new sdk.BatchSpanProcessor(new otlp.OTLPTraceExporter({ timeoutMillis: EXPORT_MS }), {
    scheduledDelayMillis: WAIT_MS,
    exportTimeoutMillis: EXPORT_MS,
    maxQueueSize: MAX_WAITING,
  });
  const provider = new sdk.BasicTracerProvider({ resource, spanProcessors: [processor] });
  const tracing = {
    tracer: provider.getTracer('moult', MOULT_VERSION),
    inside: (span: Parameters<typeof api.trace.setSpan>[1]) => api.trace.setSpan(api.ROOT_CONTEXT, span),
  };
  const traces = new RestartTraces(tracing, service);
  return {
    add: (entry) => traces.add(entry),
    close: () => {
      traces.close();
      return provider.shutdown().catch(() => {});
    },
  };
}

async function loadPackages() {
  try {
    return await Promise.all([
      import('@opentelemetry/api'),
      import('@opentelemetry/sdk-trace-base'),
      import('@opentelemetry/exporter-trace-otlp-proto'),
      import('@opentelemetry/resources'),
    ]);
  } catch (cause) {
    const what = `traces are enabled (OTEL_EXPORTER_OTLP_ENDPOINT), but packages are missing: npm install ${PACKAGES.join(' ')}`;
    throw new Error(`${what} (${String(cause)})`, { cause });
  }
}

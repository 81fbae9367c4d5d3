import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, it } from 'node:test';
import { OtlpReceiver, type ReceivedSpan } from './otlp-receiver.js';
import { until, withFolder, withService } from './supervised.js';

const SERVICE = `
  if (require('node:fs').existsSync(process.env.BROKEN)) process.exit(3);
  require('node:http').createServer((_, response) => response.end()).listen(0, '127.0.0.1');`;

/** The span above all others of a trace, and those below it. */
function whole(spans: readonly ReceivedSpan[], root: ReceivedSpan): ReceivedSpan[] {
  return spans.filter((one) => one.trace === root.trace && one.id !== root.id);
}

describe('moult run with OTEL_EXPORTER_OTLP_ENDPOINT', () => {
  it('sends each restart as a whole trace, and restarts and ends as ever beside a collector that does not answer', async () => {
    const collector = await OtlpReceiver.open();
    await withFolder(async (folder) => {
      const script = path.join(folder, 'service.cjs');
      const broken = path.join(folder, 'broken');
      await writeFile(script, SERVICE);
      const env = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, BROKEN: broken };
      const runOptions = ['--probation', '300ms'];
      await withService({ command: [script], env, runOptions }, async (service) => {
        await service.restart('--wait=confirmed');
        const root = (generation: string) =>
          collector.spans.find(
            ({ name, attributes }) => name === 'restart' && attributes['deployment.id'] === generation,
          );
        const good = await until('the trace has come', () => root('2'));
        const stages = whole(collector.spans, good);
        const names = stages.map(({ name }) => name);
        for (const name of [
          'spawn',
          'hello',
          'inherit',
          'ready',
          'commit',
          'connections',
          'look',
          'verify',
          'confirm',
        ])
          assert.ok(names.includes(name), `${name} in ${names.join(', ')}`);
        assert.equal(new Set(names).size, names.length);
        for (const { parent, start, end, name } of stages) {
          assert.equal(parent, good.id, name);
          assert.ok(start >= good.start && start <= end && end <= good.end, `${name} is within its restart`);
        }
        assert.equal(good.parent, '');
        const { pid } = await service.current();
        const { attributes, resource } = good;
        assert.equal(attributes['deployment.status'], 'succeeded');
        assert.equal(attributes['process.pid'], String(pid));
        assert.equal(attributes['service.instance.id'], 'service-2');
        assert.match(String(attributes['deployment.name']), /service\.cjs/);
        assert.equal(resource['service.name'], 'service');
        assert.equal(resource['process.pid'], String(service.pid));

        await writeFile(broken, '');
        const { code } = await service.failingRestart();
        const bad = await until('the trace of the failure has come', () => root('3'));
        assert.equal(bad.attributes['deployment.status'], 'failed');
        assert.equal(bad.attributes['error.type'], code);
        assert.equal(bad.status?.code, 2);
        assert.match(bad.status?.message ?? '', /exited with code 3/);
        assert.notEqual(bad.trace, good.trace);

        collector.answers = false;
        await service.failingRestart();
        await until('it waits for an answer', () => collector.waiting.length > 0);
        await service.failingRestart();
      });
    }).finally(() => collector.close());
  });
});

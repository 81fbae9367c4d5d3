// A plugin for Fastify. `app.moult` is the service; the program is ready when it listens, its `onClose` hooks run
// when nothing is left to do.
import { openService } from 'moult';

export async function moult(app, options) {
  const service = openService(options);
  app.decorate('moult', service);
  app.addHook('onListen', () => service.ready());
  service.signal.addEventListener('abort', () => app.log.info('accepts no more, and finishes what it has'));
  service.beforeEnd(() => app.close());
}

// What fastify-plugin does: the decorator is for the whole app, not for this plugin alone.
moult[Symbol.for('skip-override')] = true;

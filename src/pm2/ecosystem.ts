import { readFileSync } from 'node:fs';
import { basename, extname } from 'node:path';
import { evaluateConfig } from '../config/evaluate-config.js';
import { MoultError } from '../errors.js';

/** One app of an ecosystem file, as it is written there. */
export type EcosystemApp = Readonly<Record<string, unknown>>;

/** What an ecosystem file of PM2 has. */
export interface Ecosystem {
  readonly apps: readonly EcosystemApp[];
  /** The other parts of the file, such as `deploy`. */
  readonly others: readonly string[];
}

/**
 * Reads an ecosystem file in any of the shapes that PM2 takes: JavaScript, also a function, JSON or YAML; with `apps`, a list, or one app.
 * @throws MOULT_CONFIG_FAILED
 */
export async function readEcosystem(file: string): Promise<Ecosystem> {
  const content = await contentOf(file);
  const { pm2 } = (content ?? {}) as { pm2?: unknown };
  const whole = pm2 ?? content;
  if (Array.isArray(whole)) return { apps: whole.map((app) => asApp(file, app)), others: [] };
  const { apps, ...others } = asApp(file, whole);
  if (apps === undefined) return { apps: [asApp(file, whole)], others: [] };
  const list = Array.isArray(apps) ? apps : [apps];
  return { apps: list.map((app) => asApp(file, app)), others: Object.keys(others) };
}

async function contentOf(file: string): Promise<unknown> {
  if (!['.yaml', '.yml'].includes(extname(file))) return evaluateConfig(file);
  const { parse } = await import('yaml');
  try {
    return parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    throw new MoultError('MOULT_CONFIG_FAILED', `${file} could not be read: ${(cause as Error).message}`, {
      cause,
    });
  }
}

function asApp(file: string, app: unknown): EcosystemApp {
  if (typeof app === 'object' && app !== null && !Array.isArray(app)) return app as EcosystemApp;
  const what = `${basename(file)}: expected an app with a script, or a list of them under apps`;
  throw new MoultError('MOULT_CONFIG_FAILED', what);
}

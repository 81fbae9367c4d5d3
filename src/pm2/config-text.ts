import type { MoultConfig } from '../config/service-config.js';

/** A config as the text of `moult.config.ts`. @param from the file of which it was made. */
export function configText(config: MoultConfig, from: string): string {
  return [
    `// Made from ${from} by moult import.`,
    "import { defineConfig } from 'moult/config';",
    '',
    `export default defineConfig(${written(config, '')});`,
    '',
  ].join('\n');
}

function written(value: unknown, indent: string): string {
  if (Array.isArray(value)) return `[${value.map((one) => written(one, indent)).join(', ')}]`;
  if (typeof value === 'string') return quoted(value);
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const entries = Object.entries(value).filter(([, one]) => one !== undefined);
  if (entries.length === 0) return '{}';
  const inner = `${indent}  `;
  const lines = entries.map(([key, one]) => `${inner}${keyText(key)}: ${written(one, inner)},`);
  return `{\n${lines.join('\n')}\n${indent}}`;
}

function keyText(key: string): string {
  return /^[A-Za-z_$][\w$]*$/.test(key) ? key : quoted(key);
}

function quoted(text: string): string {
  const inner = JSON.stringify(text).slice(1, -1).replaceAll('\\"', '"').replaceAll("'", "\\'");
  return `'${inner}'`;
}

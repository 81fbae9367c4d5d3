/** Where NODE_OPTIONS waits for the service while a process of moult's own starts. */
const SET_ASIDE = 'MOULT_NODE_OPTIONS';

/** The variables for a process of moult's own: what NODE_OPTIONS loads is meant for the service alone. */
export function withoutNodeOptions({
  NODE_OPTIONS,
  ...others
}: Readonly<Record<string, string | undefined>>): Record<string, string | undefined> {
  return NODE_OPTIONS === undefined ? others : { ...others, [SET_ASIDE]: NODE_OPTIONS };
}

/** Takes back {@link withoutNodeOptions}, for the processes that this one starts. @returns whether there was something. */
export function restoreNodeOptions(env: NodeJS.ProcessEnv): boolean {
  const kept = env[SET_ASIDE];
  if (kept === undefined) return false;
  env.NODE_OPTIONS = kept;
  delete env[SET_ASIDE];
  return true;
}

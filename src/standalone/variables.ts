/** What a service that restarts itself says to its successor through the environment. */
export interface Inheritable {
  /** The path of the socket at which the predecessor receives it. */
  readonly door: string;
  readonly generation: number;
}

const PREDECESSOR = 'MOULT_PREDECESSOR';
const GENERATION = 'MOULT_GENERATION';

/** The variables that make a process the successor of this one. */
export function successorVariables(door: string, generation: number): Record<string, string> {
  return { [PREDECESSOR]: door, [GENERATION]: String(generation) };
}

/** Takes them out of the environment, so that the service's own children are not taken for successors. */
export function takeInheritable(env: NodeJS.ProcessEnv): Inheritable | undefined {
  const door = env[PREDECESSOR];
  const generation = Number(env[GENERATION]);
  delete env[PREDECESSOR];
  if (door === undefined) return undefined;
  delete env[GENERATION];
  return door !== '' && Number.isInteger(generation) && generation > 1 ? { door, generation } : undefined;
}

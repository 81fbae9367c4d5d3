import { readdirSync, readFileSync } from 'node:fs';

/** The living processes that these processes have started, and those that those have started. @param {readonly number[]} pids */
export function descendantsOf(pids) {
  const found = /** @type {number[]} */ ([]);
  for (const pid of pids) {
    const children = childrenOf(pid);
    found.push(...children, ...descendantsOf(children));
  }
  return found;
}

/** The living processes that a process has started. @param {number} parent */
export function childrenOf(parent) {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      const found = parentAndState(pid);
      return found?.parent === parent && found.state !== 'Z';
    });
}

/** Whether a process lives. @param {number} pid */
export function isAlive(pid) {
  const found = parentAndState(pid);
  return found !== undefined && found.state !== 'Z';
}

/**
 * What processes have in memory of their own, in bytes; what a forked one still shares with another counts once. Files
 * that are mapped, such as the program itself, are left out: what of them counts for whom depends on what else runs.
 * Source: proc_pid_smaps(5), Linux 5.9 Pss_Anon. One that has just ended counts as nothing.
 * @param {readonly number[]} pids
 */
export function memoryOf(pids) {
  let bytes = 0;
  for (const pid of pids) {
    const found = /^Pss_Anon:\s+(\d+) kB/m.exec(read(`/proc/${pid}/smaps_rollup`) ?? '');
    bytes += Number(found?.[1] ?? 0) * 1024;
  }
  return bytes;
}

/** @param {number} pid */
function parentAndState(pid) {
  const stat = read(`/proc/${pid}/stat`);
  if (stat === undefined) return undefined;
  const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return { state, parent: Number(parent) };
}

/** @param {string} path @returns {string | undefined} */
function read(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

/*
 * Which process of a tree the service is, where none of them listens: the last Node process of it. CommonJS and without
 * any import of moult's own, as hooks.cts.
 */
const fs: typeof import('node:fs') = require('node:fs');
const path: typeof import('node:path') = require('node:path');

/** Whether no process below this one is a Node process that moult's preload is in. Source: proc(5), children, environ. */
function isLastOfTree(pid = process.pid): boolean {
  return childrenOf(pid).every((child) => !isOfService(child) && isLastOfTree(child));
}

function isOfService(pid: number): boolean {
  try {
    const isNode = path.basename(fs.readlinkSync(`/proc/${pid}/exe`)).startsWith('node');
    return isNode && fs.readFileSync(`/proc/${pid}/environ`, 'latin1').includes('MOULT_SUPERVISOR=');
  } catch {
    // It has just ended, or is another user's.
    return false;
  }
}

function childrenOf(pid: number): number[] {
  try {
    const tasks = fs.readdirSync(`/proc/${pid}/task`);
    return tasks
      .flatMap((task) => fs.readFileSync(`/proc/${pid}/task/${task}/children`, 'latin1').split(' '))
      .flatMap((child) => (Number(child) > 0 ? [Number(child)] : []));
  } catch {
    return [];
  }
}

module.exports = { isLastOfTree };

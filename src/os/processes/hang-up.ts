import { readFileSync, readlinkSync } from 'node:fs';
import { basename } from 'node:path';

const SIGHUP_BIT = 1n;
const O_ACCMODE = 0o3;
const O_WRONLY = 0o1;

/** Whether this process has a controlling terminal now. Source: proc(5), /proc/pid/stat, field 7 (tty_nr). */
export function hasTerminal(): boolean {
  try {
    const stat = readFileSync('/proc/self/stat', 'utf8');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[4]) !== 0;
  } catch {
    return false;
  }
}

/**
 * Whether who started this process had it ignore hang-ups, as far as can still be seen: Node itself takes that back before
 * any script runs (Source: node src/node.cc, ResetSignalHandlers). It shows in the process that started it, such as a
 * shell after `trap '' HUP`, and in what nohup does besides (Source: coreutils src/nohup.c: standard input becomes
 * /dev/null, opened for writing; standard output becomes nohup.out).
 */
export function wasToldToIgnoreHangUps(): boolean {
  return parentIgnoresHangUps() || hasInputOfNohup() || basename(linkOf(1)) === 'nohup.out';
}

function parentIgnoresHangUps(): boolean {
  try {
    const status = readFileSync(`/proc/${process.ppid}/status`, 'utf8');
    const ignored = /^SigIgn:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0';
    return (BigInt(`0x${ignored}`) & SIGHUP_BIT) !== 0n;
  } catch {
    return false;
  }
}

function hasInputOfNohup(): boolean {
  try {
    const flags = /^flags:\s*([0-7]+)$/m.exec(readFileSync('/proc/self/fdinfo/0', 'utf8'))?.[1] ?? '0';
    return linkOf(0) === '/dev/null' && (Number.parseInt(flags, 8) & O_ACCMODE) === O_WRONLY;
  } catch {
    return false;
  }
}

function linkOf(fd: number): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return '';
  }
}

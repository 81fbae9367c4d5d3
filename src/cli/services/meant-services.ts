import type { ServicesFile } from '../../config/file-services.js';
import { findConfig } from '../../config/find-config.js';
import { asMoultError, MoultError } from '../../errors.js';
import { namedWorkingDirectory } from '../../os/files/working-directory.js';
import { RunFolder } from '../../supervisor/journal/run-folder.js';
import { tell } from '../../terminal/print.js';
import { findService, isRunning } from './services.js';

/** The services that a command means, in the order in which they start. */
export interface Meant {
  readonly folders: readonly RunFolder[];
  /** The config file that names them; undefined where one was named, or found because it is the only one that runs. */
  readonly file: ServicesFile | undefined;
  /** Those of the file that do not run. */
  readonly missing: readonly string[];
}

/**
 * The one that is named, by its name or by its key in the config file; without a name those of the config file of this
 * folder; without a file the only one that runs.
 * @param mayBeBroken whether a file that cannot be read is passed over, with a word.
 * @throws what {@link findService} throws; MOULT_CONFIG_FAILED
 */
export async function meantServices(name: string | undefined, mayBeBroken = false): Promise<Meant> {
  if (name !== undefined && (await isRunning(new RunFolder(name))))
    return { folders: [await findService(name)], file: undefined, missing: [] };
  const file = await nearestFile().catch((error: unknown) => {
    if (!mayBeBroken) throw error;
    tell(asMoultError(error, 'MOULT_CONFIG_FAILED').message);
    return undefined;
  });
  if (name !== undefined) {
    const named = file?.services.find((one) => one.key === name)?.name ?? name;
    return { folders: [await findService(named)], file: undefined, missing: [] };
  }
  if (file === undefined) return { folders: [await findService(undefined)], file, missing: [] };
  const [running, missing] = await parted(file.services.map((one) => one.name));
  if (running.length > 0 || !file.isList) {
    // Of the only one it is told why it cannot be found.
    const names = file.isList ? running : [file.services[0]?.name];
    return { folders: await Promise.all(names.map(findService)), file, missing };
  }
  const what = `none of the services of ${file.file} runs (${missing.join(', ')}): moult up starts them`;
  throw new MoultError('MOULT_NOT_RUNNING', what);
}

/** The names of a list of services in the config file of this folder that do not run; none where it cannot be read. */
export async function missingServices(): Promise<readonly string[]> {
  const file = await nearestFile().catch(() => undefined);
  return file?.isList === true ? (await parted(file.services.map(({ name }) => name)))[1] : [];
}

// What reads a file is loaded only where there is one.
async function nearestFile(): Promise<ServicesFile | undefined> {
  const folder = namedWorkingDirectory();
  if (findConfig(folder) === undefined) return undefined;
  const { fileServices } = await import('../../config/file-services.js');
  return fileServices({}, folder);
}

async function parted(names: readonly string[]): Promise<[string[], string[]]> {
  const isThere = await Promise.all(names.map((name) => isRunning(new RunFolder(name))));
  return [names.filter((_, at) => isThere[at]), names.filter((_, at) => !isThere[at])];
}

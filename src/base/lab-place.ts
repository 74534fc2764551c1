import { ComicranError } from './errors.ts';

/** Where a lab is: what tells it from another one on the same machine. */
export type LabPlace = {
  /** Network namespaces are called `<prefix>-ue` and so on. */
  readonly prefix: string;
  /** Everything that the lab keeps on disk is below it. */
  readonly directory: string;
  /** For the record: emptied by a restart of the machine, as the lab is. */
  readonly runDirectory: string;
};

const DEFAULT_PREFIX = 'cr';

/** Short enough that `<prefix>-sdn` can be a name anywhere, and no path. */
const NAME = /^[a-z][a-z0-9]{0,7}$/;

/**
 * The lab that is meant.
 * @param name from the environment (COMICRAN_LAB): several labs can be on one machine, each under a name of its own.
 */
export function labPlace(name: string | undefined): LabPlace {
  if (name === undefined || name === '' || name === DEFAULT_PREFIX)
    return { prefix: DEFAULT_PREFIX, directory: '/var/lib/comicran/lab', runDirectory: '/run/comicran' };
  if (!NAME.test(name))
    throw new ComicranError('config.invalid', `COMICRAN_LAB: ${JSON.stringify(name)} cannot be the name of a lab`, {
      hint: 'Take up to eight small letters and digits, a letter first.',
    });
  return { prefix: name, directory: `/var/lib/comicran/lab-${name}`, runDirectory: `/run/comicran/${name}` };
}

/** What smanager needs to find the daemons of a lab: written by `comicran lab up`, removed by `comicran lab down`. */
export function labManagerFile(place: LabPlace): string {
  return `${place.runDirectory}/lab-manager.json`;
}

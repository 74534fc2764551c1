/** What the objects of a sandbox are called, and where they lie. Pure: everything follows from state directory and id. */
import { createHash } from 'node:crypto';
import { join, resolve } from 'node:path';
import { ComicranError } from '../base/errors.ts';
import { ipv4Bytes } from '../base/ipv4.ts';

export const DEFAULT_STATE_DIRECTORY = '/var/lib/comicran';

/** A PID that a young process and its threads do not have, below the smallest limit that kernels start with (32768). */
export const DEFAULT_HATCHERY_PID = 32_000;

/** The sandbox's way out: an address that nobody has, with the MAC address of the VM's end of the link. */
export const GATEWAY = { address: '169.254.1.1', mac: '02:00:a9:fe:01:01' } as const;

/** The sandbox's end of the link, as seen inside. */
export const INSIDE_LINK = 'eth0';

/** Eight hexadecimal digits that tell this sandbox of this state directory from all others on the machine. */
export function tagOf(stateDirectory: string, id: string): string {
  return createHash('sha256')
    .update(`${resolve(stateDirectory)}\0${id}`)
    .digest('hex')
    .slice(0, 8);
}

/** The VM's end of the sandbox's link. */
export const linkName = (tag: string): string => `cr-${tag}`;

export const cgroupName = (tag: string): string => `comicran-${tag}`;

/** The MAC address of a sandbox follows from its IPv4 address, so that it is the same on every VM. */
export function macOf(address: string): string {
  const bytes = [0x02, 0x00, ...ipv4Bytes(address)];
  return bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}

export type SandboxPaths = {
  readonly directory: string;
  readonly config: string;
  readonly state: string;
  readonly controlSocket: string;
  readonly log: string;
  /** What jailor itself has to say while it runs in the background. */
  readonly jailorLog: string;
  /** The root directory that jailor makes where the configuration names none. */
  readonly root: string;
};

/** Before it becomes part of a path. @throws ComicranError sandbox.unknown for a name that no sandbox can have */
export function checkId(id: string): void {
  if (/^[a-z][a-z0-9-]{0,31}$/.test(id)) return;
  throw new ComicranError('sandbox.unknown', `'${id}' is not a name of a sandbox`);
}

export const sandboxesDirectory = (stateDirectory: string): string => join(resolve(stateDirectory), 'sandboxes');

export const storeDirectory = (stateDirectory: string): string => join(resolve(stateDirectory), 'store');

export function sandboxPaths(stateDirectory: string, id: string): SandboxPaths {
  const directory = join(sandboxesDirectory(stateDirectory), id);
  return {
    directory,
    config: join(directory, 'config.json'),
    state: join(directory, 'state.json'),
    controlSocket: join(directory, 'control.sock'),
    log: join(directory, 'log'),
    jailorLog: join(directory, 'jailor.log'),
    root: join(directory, 'root'),
  };
}

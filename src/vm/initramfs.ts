/** From what belongs to a virtual machine to the file that its kernel begins with. */
import { copyFileSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { FullConfig } from '../base/sandbox-config.ts';
import { CpioFile } from './cpio-file.ts';
import { type GuestRoot, type Program, SERVICE } from './guest-root.ts';

/** What is a machine's own. Addresses are IPv4 text. */
export type GuestIdentity = {
  readonly name: string;
  /** Of eth0, eth1, … */
  readonly links: readonly { readonly address: string; readonly prefixLength: number }[];
  readonly gateway: string | undefined;
  /** Which of the daemons is its service, and the variables of that one's unit. */
  readonly program: Program;
  readonly environment: Readonly<Record<string, string>>;
  /** TCP; where that daemon listens. */
  readonly port: number;
  /** Directory with ca.pem and this machine's certificate and key. */
  readonly pki: string;
};

/** Directories before what is in them, files once. */
function addConfigured(archive: CpioFile, { directories, files, symlinks }: FullConfig, taken: Set<string>): void {
  const isNew = (path: string): boolean => !taken.has(path) && taken.add(path) !== undefined;
  for (const { path, mode } of directories.toSorted((a, b) => (a.path < b.path ? -1 : 1)))
    if (isNew(path)) archive.directory(path, mode);
  // The kernel follows links that are there already: first what they lead to could not be put anywhere else.
  for (const { path, target } of symlinks) if (isNew(path)) archive.symlink(path, target);
  for (const { path, mode, source, size } of files) if (isNew(path)) archive.copy(path, mode, source, size);
}

/**
 * @param path of the file; one that is there is replaced.
 * @param sandboxes whose files the machines are to have as well, at the paths that they have on this machine.
 */
export function writeInitramfs(path: string, { files, texts }: GuestRoot, sandboxes: readonly FullConfig[]): void {
  rmSync(path, { force: true });
  const archive = new CpioFile(path);
  const taken = new Set<string>();
  addConfigured(archive, files, taken);
  for (const { path: where, mode, text } of texts) archive.file(where, mode, text);
  for (const sandbox of sandboxes) {
    const sources = sandbox.files.map((file) => ({ ...file, path: file.source, mode: 0o755 }));
    addConfigured(archive, { ...sandbox, files: sources, directories: [], symlinks: [] }, taken);
  }
  archive.end();
}

const environmentFile = (values: Readonly<Record<string, string>>): string =>
  Object.entries(values)
    .map(([name, value]) => `${name}=${value}\n`)
    .join('');

/** The same with a machine's own files behind it. */
export function writeOwnInitramfs(path: string, common: string, identity: GuestIdentity): void {
  copyFileSync(common, path);
  const { name, links, gateway, program, environment, port, pki } = identity;
  const archive = new CpioFile(path);
  const own = '/etc/comicran';
  const machine = {
    COMICRAN_NAME: name,
    COMICRAN_LINKS: `"${links.map(({ address, prefixLength }) => `${address}/${prefixLength}`).join(' ')}"`,
    COMICRAN_GATEWAY: gateway ?? '',
    COMICRAN_PORT: `${port}`,
  };
  archive.file(`${own}/machine.env`, 0o644, environmentFile(machine));
  archive.file(`${own}/${program}.env`, 0o644, environmentFile(environment));
  archive.symlink(SERVICE, program);
  archive.directory(`${own}/pki`, 0o700);
  for (const file of ['ca.pem', `${name}.pem`, `${name}.key`])
    archive.file(`${own}/pki/${file}`, 0o600, readFileSync(join(pki, file)));
  archive.end();
}
